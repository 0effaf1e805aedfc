"""Faces: identities to learn from, and pairs and templates to test with."""

from mmkd.datasets.faces.align import AlignFace, CropFace
from mmkd.datasets.faces.bin_file import FaceBin
from mmkd.datasets.faces.identities import FaceList, FaceRecords
from mmkd.datasets.faces.ijba import IJBA
from mmkd.datasets.faces.ijbc import IJBC
from mmkd.datasets.faces.pairs import FaceIdentities, FacePairs

__all__ = ['IJBA', 'IJBC', 'AlignFace', 'CropFace', 'FaceBin', 'FaceIdentities', 'FaceList', 'FacePairs', 'FaceRecords']
