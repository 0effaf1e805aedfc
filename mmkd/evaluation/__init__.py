"""Verification and identification by embeddings. Knows no model and no file."""

from mmkd.evaluation.metric import FaceMetric
from mmkd.evaluation.protocols import (
    Comparisons,
    Pairs,
    Protocol,
    Searches,
    TemplateProtocol,
    Templates,
    all_pairs,
)

__all__ = [
    'Comparisons',
    'FaceMetric',
    'Pairs',
    'Protocol',
    'Searches',
    'TemplateProtocol',
    'Templates',
    'all_pairs',
]
