"""What matters of a feature (OFD, Heo et al., arXiv 1904.01866)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.losses.common import Shape, map_shape
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Connector(nn.Module):
    margin: Tensor

    def __init__(self, student: int, margin: Tensor):
        super().__init__()
        convolution = nn.Conv2d(student, len(margin), 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode='fan_out')
        self.connect = nn.Sequential(convolution, nn.BatchNorm2d(len(margin)))
        self.register_buffer('margin', margin[:, None, None])

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The squared differences, a sum over all but the batch."""
        own, target = self.connect(student), torch.maximum(teacher, self.margin)
        matters = (own > target) | (target > 0)
        return ((own - target).square() * matters).sum() / len(own)


@MODELS.register_module()
class OFDLoss(LearnedFeatureLoss):
    """The squared difference to the teacher's feature where either is positive or the student exceeds the target.

    The teacher's values below a margin are raised to it: the mean of its negative values in each channel, as the batch
    norm before them tells. The student's feature goes through a 1x1 convolution and batch norm first. A sum over
    everything but the batch, so weights are small; the last place has weight 1, each one before half the weight of the
    next. Published on features before their ReLU.

    Args:
        loss_weight (float): Defaults to 1e-3, as the authors and mdistiller take it for CIFAR-100; 1e-4 for ImageNet.
    """

    alike = 'sizes'
    at_once = True
    build_needs = ('teacher_norms',)

    def __init__(self, loss_weight: float = 1e-3):
        super().__init__(loss_weight)

    def build(  # type: ignore[override]
        self,
        student: Sequence[Shape],
        teacher: Sequence[Shape],
        teacher_norms: Sequence[tuple[Tensor, Tensor] | None],
    ) -> None:
        """Make the connectors."""
        for own, norm in zip(student, teacher_norms):
            if norm is None:
                raise UserError(f"{self.name}: the teacher's feature must come out of a batch norm; name other places.")
            self.parts.append(_Connector(map_shape(own)[0], margin_of(*norm)))

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The weighted sum over the places."""
        parts = [part(own, target) for part, own, target in zip(self.parts, student, teacher, strict=True)]
        return torch.stack([part / 2**later for later, part in enumerate(reversed(parts))]).sum()


@torch.no_grad()
def margin_of(weight: Tensor, bias: Tensor) -> Tensor:
    """The mean of the negative values of normal distributions with these deviations and means.

    Three deviations below zero where hardly any value is negative.
    """
    deviation = weight.abs()
    ratio = -bias / deviation
    below = torch.special.ndtr(ratio)
    density = (-(ratio**2) / 2).exp() / (2 * torch.pi) ** 0.5
    return torch.where(below > 0.001, bias - deviation * density / below, -3 * deviation)
