"""Hints (FitNet, Romero et al., arXiv 1412.6550)."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Regressor(nn.Module):
    def __init__(self, convolution: nn.Module, channels: int):
        super().__init__()
        self.regress = nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean squared difference."""
        return F.mse_loss(self.regress(student), teacher)


@MODELS.register_module()
class FitNetLoss(LearnedFeatureLoss):
    """The mean squared difference of the teacher's feature to a regression from the student's.

    The regression is a convolution, batch norm and ReLU: 1x1 for maps of equal size, 3x3 with stride 2 where the
    student's is twice the teacher's, transposed 4x4 where it is half of it. Published on the second stage's end behind
    its ReLU, as the first of two phases; RepDistiller and mdistiller learn both at once.

    Args:
        loss_weight (float): Defaults to 100.0, as in RepDistiller.
    """

    def __init__(self, loss_weight: float = 100.0):
        super().__init__(loss_weight)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The regression between maps of these shapes."""
        channels = student[0], teacher[0]
        if student[1:] == teacher[1:]:
            return _Regressor(nn.Conv2d(*channels, 1), teacher[0])
        if _halved(student[1:]) == teacher[1:]:
            return _Regressor(nn.Conv2d(*channels, 3, 2, 1), teacher[0])
        if teacher[1:] == tuple(2 * side for side in student[1:]):
            return _Regressor(nn.ConvTranspose2d(*channels, 4, 2, 1), teacher[0])
        raise UserError(
            f"{self.name}: maps of the student's shape {student} and the teacher's {teacher} must be of one size, or "
            'one twice the other; choose other places or let adapters make them alike.'
        )


def _halved(sides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((side + 1) // 2 for side in sides)
