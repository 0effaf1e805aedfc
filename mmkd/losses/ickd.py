"""Correlations of channels (ICKD, Liu et al., ICCV 2021)."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Channels(nn.Module):
    def __init__(self, student: int, teacher: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(student, teacher, 1, bias=False), nn.BatchNorm2d(teacher))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The squared differences of correlations, a mean over the batch and a sum over one of the two channels."""
        difference = _correlations(self.embed(student)) - _correlations(teacher)
        return difference.square().sum(2).mean()


def _correlations(feature: Tensor) -> Tensor:
    channels = feature.flatten(2)
    return F.normalize(channels @ channels.transpose(1, 2), dim=2)


@MODELS.register_module()
class ICKDLoss(LearnedFeatureLoss):
    """Differences of the products of any two channels of an image, with norm 1 a row.

    The student's feature goes through a 1x1 convolution and batch norm first. Published on the last stage behind its
    ReLU. Features of any shape.

    Args:
        loss_weight (float): Defaults to 2.5, as in the authors' code for CIFAR-100.
    """

    def __init__(self, loss_weight: float = 2.5):
        super().__init__(loss_weight)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The embedding for maps of these shapes."""
        return _Channels(student[0], teacher[0])
