"""Knowledge review (ReviewKD, Chen et al., arXiv 2104.09044)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import Shape, check_count, map_shape
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


class _Fusion(nn.Module):
    """Joins a map with what is carried from the deeper ones, by attention."""

    def __init__(self, student: int, middle: int, teacher: int, deepest: bool):
        super().__init__()
        reduce = nn.Conv2d(student, middle, 1, bias=False)
        expand = nn.Conv2d(middle, teacher, 3, padding=1, bias=False)
        for convolution in (reduce, expand):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.reduce = nn.Sequential(reduce, nn.BatchNorm2d(middle))
        self.expand = nn.Sequential(expand, nn.BatchNorm2d(teacher))
        self.attention = None if deepest else nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid())

    def forward(self, feature: Tensor, carried: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """The feature to be compared with the teacher's of this size, and what is carried on."""
        feature = self.reduce(feature)
        if self.attention is not None:
            assert carried is not None
            carried = F.interpolate(carried, feature.shape[2:])
            own, deeper = self.attention(torch.cat([feature, carried], 1)).chunk(2, 1)
            feature = own * feature + deeper * carried
        feature = F.interpolate(feature, size)
        return self.expand(feature), feature


@MODELS.register_module()
class ReviewKDLoss(FeatureLoss):
    """The teacher's features against the student's, each joined with all deeper ones.

    From the deepest place on, a place's map is reduced by a 1x1 convolution, joined by attention with what the deeper
    ones left and expanded by a 3x3 one. The distance is the mean squared difference of the maps and of maps averaged to
    4x4, 2x2 and 1x1 positions, each with half the weight of the one before. Published on all stages before their ReLU
    and the pooled feature, with a warm-up of 20 epochs on CIFAR-100 and one on ImageNet.

    Args:
        middle (int, optional): The width of what is carried. Defaults to that of the deepest map, 512 at most.
        loss_weight (float): Defaults to 1.0, the authors' for ResNet18 on ImageNet; for ResNet8x4 on CIFAR-100 they
            take 5.
    """

    at_once = True
    alike = 'nothing'

    def __init__(self, middle: int | None = None, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.middle = middle if middle is None else check_count(self.name, 'middle', middle)
        self.parts = nn.ModuleList()

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape]) -> None:
        """Make a fusion for each place."""
        widths = [(map_shape(own)[0], map_shape(target)[0]) for own, target in zip(student, teacher)]
        middle = self.middle or min(512, widths[-1][0])
        for place, (own, target) in enumerate(widths, start=1):
            self.parts.append(_Fusion(own, middle, target, deepest=place == len(widths)))

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The sum over the places."""
        distances, carried = [], None
        for part, own, target in reversed(list(zip(self.parts, student, teacher, strict=True))):
            fused, carried = part(own, carried, target.shape[2:])
            distances.append(context_distance(fused, target))
        return torch.stack(distances).sum()


def context_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of squared differences of maps and of averaged maps, each weighing half of the one before."""
    sizes = [size for size in (4, 2, 1) if size < student.shape[2]]
    weights = [1 / 2**step for step in range(len(sizes) + 1)]
    distances = [F.mse_loss(student, teacher)] + [
        F.mse_loss(F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)) for size in sizes
    ]
    return sum(weight * distance for weight, distance in zip(weights, distances)) / sum(weights)  # type: ignore[return-value]
