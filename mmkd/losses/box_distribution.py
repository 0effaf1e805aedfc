"""Distributions of boxes' sides (LD, Zheng et al., arXiv 2102.12252; CrossKD, Wang et al., arXiv 2306.11369)."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.losses.common import check_above_zero, check_choice, check_weight, exact
from mmkd.registry import MODELS

REDUCTIONS = ('mean', 'sum')


@MODELS.register_module()
class LDLoss(nn.Module):
    """The divergence of the distributions over bins in which detectors such as GFL say where a box's sides are.

    Times ``tau`` squared. The defaults are LD's, which takes the mean over the bins; CrossKD takes ``tau=1``,
    ``bins='sum'`` and ``loss_weight=4``.

    Args:
        tau (float): The temperature. Defaults to 10.0.
        bins (str): The divergence's ``'mean'`` or ``'sum'`` over the bins. Defaults to ``'mean'``.
        loss_weight (float): Defaults to 0.25.
    """

    compares = 'bins'

    def __init__(self, tau: float = 10.0, bins: str = 'mean', loss_weight: float = 0.25):
        super().__init__()
        self.tau = check_above_zero('LDLoss', 'tau', tau)
        self.bins = check_choice('LDLoss', 'bins', bins, REDUCTIONS)
        self.loss_weight = check_weight('LDLoss', 'loss_weight', loss_weight)

    def forward(self, student: Tensor, teacher: Tensor, weights: Tensor, divisor: Tensor | float) -> Tensor:
        """The loss of scores (sides, bins) before their softmax, weighted side by side, as a scalar."""
        if student.shape != teacher.shape:
            raise UserError(
                f"LDLoss: the student's scores of bins have the shape {tuple(student.shape)}, the teacher's "
                f'{tuple(teacher.shape)}; both heads must have the same bins.'
            )
        own, target = ((exact(scores) / self.tau).log_softmax(1) for scores in (student, teacher.detach()))
        divergence = F.kl_div(own, target, reduction='none', log_target=True)
        rows = divergence.mean(1) if self.bins == 'mean' else divergence.sum(1)
        return self.loss_weight * self.tau**2 * (weights * rows).sum() / divisor

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'tau={self.tau}, bins={self.bins!r}, loss_weight={self.loss_weight}'
