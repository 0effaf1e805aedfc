"""Data sets that the toolboxes lack. They need no toolbox."""

from mmkd.datasets.array import ArrayDataset
from mmkd.datasets.digits import Digits
from mmkd.datasets.faces import (
    IJBA,
    IJBC,
    AlignFace,
    CropFace,
    FaceBin,
    FaceIdentities,
    FaceList,
    FacePairs,
    FaceRecords,
)
from mmkd.datasets.resident import ResidentArrayDataset
from mmkd.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    'IJBA',
    'IJBC',
    'AlignFace',
    'ArrayDataset',
    'CropFace',
    'Digits',
    'FaceBin',
    'FaceIdentities',
    'FaceList',
    'FacePairs',
    'FaceRecords',
    'ResidentArrayDataset',
    'TinyImageNet',
]
