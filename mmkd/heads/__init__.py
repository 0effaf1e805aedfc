"""Auxiliary heads that compute scores from a stage's feature, used only in training. They need no toolbox."""

from mmkd.heads.build import build_head
from mmkd.heads.classification import AuxiliaryHead, ToolboxHead
from mmkd.heads.detection import DenseHead, build_dense_head, class_scores, scores_classes
from mmkd.heads.saved import load_heads, save_heads

__all__ = [
    'AuxiliaryHead',
    'DenseHead',
    'ToolboxHead',
    'build_dense_head',
    'build_head',
    'class_scores',
    'load_heads',
    'save_heads',
    'scores_classes',
]
