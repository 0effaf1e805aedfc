"""Predictions of the teacher's head from the student's features (CrossKD, Wang et al., arXiv 2306.11369)."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.losses.box_overlap import generalised_iou
from mmkd.losses.class_scores import ClassScores
from mmkd.losses.common import check_weight, exact
from mmkd.losses.pkd import standardised
from mmkd.registry import MODELS
from mmkd.utils.autocast import without_autocast


@MODELS.register_module()
class CrossKDClassLoss(nn.Module):
    """The quality focal loss of class scores against the teacher's probabilities.

    The binary cross entropy, weighted by the distance of both probabilities, whose gradient counts. The weight is
    CrossKD's for GFL, RetinaNet and ATSS; for FCOS it takes 0.4.

    Args:
        beta (float): The power of the distance. Defaults to 1.0.
        loss_weight (float): Defaults to 1.0.
    """

    compares = 'scores'

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0):
        super().__init__()
        self.beta = check_weight('CrossKDClassLoss', 'beta', beta)
        self.loss_weight = check_weight('CrossKDClassLoss', 'loss_weight', loss_weight)

    def forward(
        self, student: Tensor | ClassScores, teacher: Tensor | ClassScores, weights: Tensor, divisor: Tensor | float
    ) -> Tensor:
        """The loss of scores (places, classes) before their sigmoid, weighted place by place, as a scalar."""
        if isinstance(student, ClassScores) and not student.sigmoid:
            raise UserError(
                'CrossKDClassLoss: it compares a yes or no for each class, and these heads choose one class of all; '
                'take mmkd.ClassScoreLoss.'
            )
        student, teacher = (x.logits if isinstance(x, ClassScores) else x for x in (student, teacher))
        with without_autocast(student):
            own, target = exact(student), exact(teacher.detach()).sigmoid()
            focus = (own.sigmoid() - target).abs() ** self.beta
            losses = focus * F.binary_cross_entropy_with_logits(own, target, reduction='none')
            return self.loss_weight * (weights[:, None] * losses).sum() / divisor


@MODELS.register_module()
class CrossKDBoxLoss(nn.Module):
    """1 - the generalised IoU of boxes (places, 4) as x1, y1, x2, y2 with the teacher's.

    Args:
        loss_weight (float): Defaults to 1.0, CrossKD's for RetinaNet and ATSS; for FCOS it takes 0.75.
    """

    compares = 'boxes'

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = check_weight('CrossKDBoxLoss', 'loss_weight', loss_weight)

    def forward(self, student: Tensor, teacher: Tensor, weights: Tensor, divisor: Tensor | float) -> Tensor:
        """The loss, weighted place by place, as a scalar."""
        losses = 1 - generalised_iou(exact(student), exact(teacher.detach()))
        return self.loss_weight * (weights * losses).sum() / divisor


@MODELS.register_module()
class CrossKDCenternessLoss(nn.Module):
    """The binary cross entropy of scores of centerness (places,) against the teacher's probabilities.

    Args:
        loss_weight (float): Defaults to 1.0, CrossKD's for ATSS; of FCOS it compares no centerness.
    """

    compares = 'centerness'

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = check_weight('CrossKDCenternessLoss', 'loss_weight', loss_weight)

    def forward(self, student: Tensor, teacher: Tensor, weights: Tensor, divisor: Tensor | float) -> Tensor:
        """The loss, weighted place by place, as a scalar."""
        target = exact(teacher.detach()).sigmoid()
        losses = F.binary_cross_entropy_with_logits(exact(student), target, reduction='none')
        return self.loss_weight * (weights * losses).sum() / divisor


def as_teachers(student: Tensor, teacher: Tensor) -> Tensor:
    """The student's map with the teacher's mean and deviation in each channel, as the teacher's head expects them."""
    axes = (0, 2, 3)
    return standardised(student) * teacher.std(axes, keepdim=True) + teacher.mean(axes, keepdim=True)
