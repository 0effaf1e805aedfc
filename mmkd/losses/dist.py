"""Correlated instead of equal scores (DIST, Huang et al., arXiv 2205.10536)."""

import torch
from torch import Tensor

from mmkd.losses.class_scores import ClassScores
from mmkd.losses.common import check_weight
from mmkd.losses.score_loss import ScoreLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class DISTLoss(ScoreLoss):
    """How badly probabilities correlate within each image and, over the batch, within each class.

    ``tau`` squared times (1 - Pearson's correlation), the mean over the rows plus the mean over the columns. Of
    detectors a row is a place; the probabilities are the softmax's or, where classes are independent, the sigmoid's. A
    score of objectness is not compared. The defaults are the authors' for ImageNet; for CIFAR-100 they take
    ``tau=4``, for detectors ``loss_weight=1``.

    Args:
        beta (float): The weight of the correlation within images. Defaults to 1.0.
        gamma (float): The weight of the correlation within classes. Defaults to 1.0.
        tau (float): The temperature. Defaults to 1.0.
        loss_weight (float): Defaults to 2.0.
        standardise (bool): Standardise each image's scores first (see :class:`.SoftTargetLoss`). Defaults to False.
    """

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        tau: float = 1.0,
        loss_weight: float = 2.0,
        standardise: bool = False,
    ):
        super().__init__(tau, loss_weight, standardise)
        self.beta = check_weight(self.name, 'beta', beta)
        self.gamma = check_weight(self.name, 'gamma', gamma)

    def forward(self, student: Tensor | ClassScores, teacher: Tensor | ClassScores) -> Tensor:  # type: ignore[override]
        """The loss of two networks' scores, as a scalar."""
        if isinstance(student, ClassScores) and isinstance(teacher, ClassScores):
            return super().forward(student.logits, teacher.logits, sigmoid=student.sigmoid)
        return super().forward(student, teacher)  # type: ignore[arg-type]

    def compare(self, student: Tensor, teacher: Tensor, sigmoid: bool = False) -> Tensor:
        """What both correlations lack, weighted."""
        scores = (student / self.tau, teacher / self.tau)
        own, target = (z.sigmoid() if sigmoid else z.softmax(1) for z in scores)
        within_images, within_classes = _correlation(own, target), _correlation(own.T, target.T)
        return self.tau**2 * (self.beta * (1 - within_images) + self.gamma * (1 - within_classes))


def _correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of Pearson's correlation of each pair of rows."""
    own, target = (rows - rows.mean(1, keepdim=True) for rows in (student, teacher))
    norms = torch.linalg.vector_norm(own, dim=1) * torch.linalg.vector_norm(target, dim=1)
    return ((own * target).sum(1) / (norms + 1e-8)).mean()
