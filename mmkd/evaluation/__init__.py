"""Verification and identification by embeddings; independent of models and files."""

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
