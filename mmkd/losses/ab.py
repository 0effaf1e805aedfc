"""Boundaries of activation (AB, Heo et al., arXiv 1811.03233)."""

import torch
from torch import Tensor

from mmkd.losses.common import check_above_zero
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class ABLoss(FeatureLoss):
    """How far the student's neurons are from being as surely on or off as the teacher's: a squared hinge.

    Summed over all neurons, times 3/1000, a mean over the batch. The last place has weight 1, each one before half the
    weight of the next. Published on features before their ReLU, alone for the first 30 epochs.

    Args:
        margin (float): Where a neuron is surely on; its negative, where off. Defaults to 1.0.
        loss_weight (float): Defaults to 1.0, as in RepDistiller.
    """

    at_once = True

    def __init__(self, margin: float = 1.0, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.margin = check_above_zero(self.name, 'margin', margin)

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The weighted sum over the places."""
        hinges = [self.pair(own, target) for own, target in zip(student, teacher)]
        return torch.stack([hinge / 2**later for later, hinge in enumerate(reversed(hinges))]).sum()

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The hinge of one place."""
        outwards = torch.where(teacher > 0, student, -student)
        return (self.margin - outwards).relu().square().sum() * 3 / 1000 / len(student)
