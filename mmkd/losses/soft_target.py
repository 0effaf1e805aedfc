"""The distance of a student's scores to the teacher's."""

import math

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.registry import MODELS


@MODELS.register_module()
class SoftTargetLoss(nn.Module):
    """The classic distillation loss (Hinton et al., arXiv 1503.02531): KL(teacher || student) of softened scores.

    Both scores are divided by ``tau`` before the softmax. The divergence is summed over the classes, averaged over the
    batch, and times ``tau`` squared, so that the gradient's size hardly depends on ``tau``; then times
    ``loss_weight``. Everything is computed in float32, under autocast too, and no gradient reaches the teacher.

    Args:
        tau (float): The temperature, a finite number above 0. Defaults to 4.0.
        loss_weight (float): A finite number that is not negative. Defaults to 1.0.

    Example:
        >>> dict(type='mmkd.SoftTargetLoss', tau=2.0)
    """

    def __init__(self, tau: float = 4.0, loss_weight: float = 1.0):
        super().__init__()
        check_softening('SoftTargetLoss', tau, loss_weight)
        self.tau = tau
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two networks' scores (N, classes) before any softmax, as a scalar."""
        if not isinstance(student, Tensor):
            raise UserError(
                'SoftTargetLoss: it compares the scores of classifiers; for detectors take mmkd.ClassScoreLoss.'
            )
        if student.shape != teacher.shape:
            raise UserError(
                f"SoftTargetLoss: the student's scores of shape {tuple(student.shape)} and the teacher's of shape "
                f'{tuple(teacher.shape)} differ; both must score the same classes.'
            )
        student, teacher = (F.log_softmax(scores.float() / self.tau, dim=1) for scores in (student, teacher.detach()))
        divergence = F.kl_div(student, teacher, reduction='batchmean', log_target=True)
        return self.loss_weight * self.tau**2 * divergence

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'tau={self.tau}, loss_weight={self.loss_weight}'


def check_softening(loss: str, tau: float, loss_weight: float) -> None:
    """Raise an error for an invalid temperature or weight."""
    if not _is_number(tau) or not 0 < tau < math.inf:
        raise UserError(f'{loss}: tau must be a finite number above 0, not {tau!r}.')
    if not _is_number(loss_weight) or not 0 <= loss_weight < math.inf:
        raise UserError(f'{loss}: loss_weight must be a finite number of 0 or more, not {loss_weight!r}.')


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
