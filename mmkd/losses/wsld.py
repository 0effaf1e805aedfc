"""Soft labels weighted image by image (WSLD, Zhou et al., arXiv 2102.00650)."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.score_loss import LabelledScoreLoss, check_labels
from mmkd.registry import MODELS


@MODELS.register_module()
class WSLDLoss(LabelledScoreLoss):
    """The cross entropy of softened scores, less of it where the student is nearer to the label than its teacher.

    Each image's weight is 1 - exp(-student's cross entropy / teacher's), both against the label at temperature 1,
    without a gradient. A cross entropy, not a divergence: it is not 0 where both are equal. The defaults are the
    authors' and MMRazor's. Of detectors it compares proposals, a row each; no public weight is known.

    Args:
        tau (float): The temperature. Defaults to 2.0.
        loss_weight (float): Defaults to 2.5.
        standardise (bool): Standardise each image's scores first (see :class:`.SoftTargetLoss`). Defaults to False.
    """

    def __init__(self, tau: float = 2.0, loss_weight: float = 2.5, standardise: bool = False):
        super().__init__(tau, loss_weight, standardise)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """The weighted cross entropy times the temperature squared."""
        check_labels(self.name, labels, student)
        with torch.no_grad():
            own, target = (F.cross_entropy(scores, labels, reduction='none') for scores in (student, teacher))
            weight = 1 - (-own / (target + 1e-7)).exp()
        soft = F.cross_entropy(student / self.tau, (teacher / self.tau).softmax(1), reduction='none')
        return self.tau**2 * (weight * soft).mean()
