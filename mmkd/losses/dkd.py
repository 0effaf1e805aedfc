"""Target and other classes apart (DKD, Zhao et al., arXiv 2203.08679)."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import check_weight
from mmkd.losses.score_loss import LabelledScoreLoss, check_labels
from mmkd.registry import MODELS


@MODELS.register_module()
class DKDLoss(LabelledScoreLoss):
    """Decoupled knowledge distillation: KL of target against rest, and KL among the other classes.

    Both are means over the batch times ``tau`` squared. The defaults are mdistiller's for ResNet32x4 to ResNet8x4 on
    CIFAR-100, where a warm-up of 20 epochs is part of the recipe; for ImageNet it takes ``tau=1`` and ``beta=0.5``.
    Of detectors it compares proposals, a row each; there it takes ``tau=1`` and ``beta=0.25``.

    Args:
        alpha (float): The weight of target against rest. Defaults to 1.0.
        beta (float): The weight of the other classes. Defaults to 8.0.
        tau (float): The temperature. Defaults to 4.0.
        loss_weight (float): Defaults to 1.0.
        standardise (bool): Standardise each image's scores first (see :class:`.SoftTargetLoss`). Defaults to False.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        tau: float = 4.0,
        loss_weight: float = 1.0,
        standardise: bool = False,
    ):
        super().__init__(tau, loss_weight, standardise)
        self.alpha = check_weight(self.name, 'alpha', alpha)
        self.beta = check_weight(self.name, 'beta', beta)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Both divergences, weighted."""
        check_labels(self.name, labels, student)
        (own, own_others), (target, target_others) = (_apart(z / self.tau, labels) for z in (student, teacher))
        divergences = self.alpha * _divergence(own, target) + self.beta * _divergence(own_others, target_others)
        return self.tau**2 * divergences


def _apart(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of target and rest (N, 2), and those of the other classes (N, classes - 1)."""
    columns = torch.arange(scores.shape[1] - 1, device=scores.device)
    others = scores.gather(1, columns + (columns >= labels[:, None]).long())
    return torch.cat([scores.gather(1, labels[:, None]), others.logsumexp(1, keepdim=True)], 1), others


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    own, target = student.log_softmax(1), teacher.log_softmax(1)
    return F.kl_div(own, target, reduction='batchmean', log_target=True)
