"""Data sets that the toolboxes do not have. They need no toolbox."""

from mmkd.datasets.array import ArrayDataset
from mmkd.datasets.digits import Digits
from mmkd.datasets.resident import ResidentArrayDataset

__all__ = ['ArrayDataset', 'Digits', 'ResidentArrayDataset']
