"""``mmkd compare``: trained networks side by side."""

from mmkd.cli.compare.command import main
from mmkd.cli.compare.comparing import compare
from mmkd.cli.compare.comparison import Column, Comparison

__all__ = ['Column', 'Comparison', 'compare', 'main']
