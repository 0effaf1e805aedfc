"""Heads that make scores of a stage's feature, train-time only. They need no toolbox."""

from mmkd.heads.build import build_head
from mmkd.heads.classification import AuxiliaryHead, ToolboxHead
from mmkd.heads.saved import load_heads, save_heads

__all__ = ['AuxiliaryHead', 'ToolboxHead', 'build_head', 'load_heads', 'save_heads']
