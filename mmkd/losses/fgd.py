"""Objects and background apart, and their context (FGD, Yang et al., arXiv 2111.11837)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd.losses.attention import Context, attention
from mmkd.losses.box_masks import masks
from mmkd.losses.common import check_above_zero, check_weight, weighted_sum
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Level(nn.Module):
    def __init__(self, student: int, teacher: int):
        super().__init__()
        self.align = nn.Identity() if student == teacher else nn.Conv2d(student, teacher, 1)
        self.own_context, self.target_context = Context(teacher), Context(teacher)

    def forward(self, student: Tensor, teacher: Tensor, tau: float, objects: Tensor, background: Tensor) -> Tensor:
        """The four terms: objects, background, attention and context. Each is a sum over all but the batch."""
        own = self.align(student)
        (own_places, own_channels), (places, channels) = attention(own, tau), attention(teacher, tau)
        focused = (own - teacher).square() * places * channels
        context = (self.own_context(own) - self.target_context(teacher)).square().sum()
        attended = (own_places - places).abs().sum() + (own_channels - channels).abs().sum()
        return torch.stack([(focused * objects).sum(), (focused * background).sum(), attended, context]) / len(own)


@MODELS.register_module()
class FGDLoss(LearnedFeatureLoss):
    """Squared differences of features, weighted by the teacher's attention, in objects and in the background.

    Beside them the difference of both networks' attention, and that of the features with a global context added by
    small networks of their own. Sums over everything but the batch, so weights are small. Where widths differ, a 1x1
    convolution joins them first. The defaults are the authors' for one-stage detectors; for two-stage ones they take
    ``objects=5e-5``, ``background=2.5e-5``, ``attention=5e-5`` and ``context=5e-7``; for FCOS ``tau=0.8``, 1.6e-3,
    8e-4, 8e-4 and 8e-6. They let neck and head start from the teacher's weights.

    Args:
        objects (float): The weight of the objects. Defaults to 1e-3.
        background (float): The weight of the background. Defaults to 5e-4.
        attention (float): The weight of the attention. Defaults to 5e-4.
        context (float): The weight of the context. Defaults to 5e-6.
        tau (float): The temperature of the attention. Defaults to 0.5.
        loss_weight (float): Of all four. Defaults to 1.0.
    """

    alike = 'sizes'
    needs = ('boxes', 'image_sizes')

    def __init__(
        self,
        objects: float = 1e-3,
        background: float = 5e-4,
        attention: float = 5e-4,
        context: float = 5e-6,
        tau: float = 0.5,
        loss_weight: float = 1.0,
    ):
        super().__init__(loss_weight)
        weights = dict(objects=objects, background=background, attention=attention, context=context)
        self.weights = [check_weight(self.name, name, weight) for name, weight in weights.items()]
        self.tau = check_above_zero(self.name, 'tau', tau)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """One level's convolutions."""
        return _Level(student[0], teacher[0])

    def compare(  # type: ignore[override]
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        boxes: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """The four terms of all levels, weighted."""
        terms = []
        for part, own, target in zip(self.parts, student, teacher, strict=True):
            objects, background = masks(boxes, image_sizes, target)
            terms.append(part(own, target, self.tau, objects, background))
        return weighted_sum(torch.stack(terms), self.weights)
