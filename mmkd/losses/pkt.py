"""Probabilities of being neighbours (PKT, Passalis and Tefas, arXiv 1803.10837)."""

import torch
from torch import Tensor

from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS

EPS = 1e-7


@MODELS.register_module()
class PKTLoss(FeatureLoss):
    """The divergence of two distributions over the batch: cosine similarities, moved to [0, 1], that sum to 1 a row.

    The mean over all entries. Published on pooled features. Features of any shape.

    Args:
        loss_weight (float): Defaults to 30000.0, as in RepDistiller.
    """

    alike = 'nothing'

    def __init__(self, loss_weight: float = 30000.0):
        super().__init__(loss_weight)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean divergence of an entry."""
        own, target = _neighbours(student.flatten(1)), _neighbours(teacher.flatten(1))
        return (target * ((target + EPS) / (own + EPS)).log()).mean()


def _neighbours(rows: Tensor) -> Tensor:
    rows = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPS)
    similarities = (rows @ rows.T + 1) / 2
    return similarities / similarities.sum(1, keepdim=True)
