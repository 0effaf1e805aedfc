"""Attention and relations between places (FBKD, Zhang and Ma, ICLR 2021), in MMRazor's form."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.losses.attention import NonLocal, attention
from mmkd.losses.common import Shape, check_above_zero, check_count, check_weight, map_shape, weighted_sum
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS


class _Level(nn.Module):
    def __init__(self, student: int, teacher: int, reduction: int, stride: int, tau: float):
        super().__init__()
        self.channels = nn.Linear(student, teacher)
        self.places = nn.Conv2d(1, 1, 3, padding=1)
        self.features, self.relations = (nn.Conv2d(student, teacher, 1) for _ in range(2))
        self.own_relations = NonLocal(student, reduction, stride)
        self.target_relations = NonLocal(teacher, reduction, stride)
        self.tau = tau

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The four norms: features, channels, places and relations."""
        with torch.no_grad():
            mask = (attention(student, self.tau)[0] + attention(teacher, self.tau)[0]) / 2
        differences = (
            (self.features(student) - teacher) * mask.sqrt(),
            self.channels(student.mean((2, 3))) - teacher.mean((2, 3)),
            self.places(student.mean(1, keepdim=True)) - teacher.mean(1, keepdim=True),
            self.relations(self.own_relations(student)) - self.target_relations(teacher),
        )
        return torch.stack([torch.linalg.vector_norm(difference) for difference in differences])


@MODELS.register_module()
class FBKDLoss(LearnedFeatureLoss):
    """Norms of the differences of features under both networks' attention, of channels, of places and of relations.

    Channels are compared by their mean, places by that of their channels, relations by features to which non-local
    blocks add those of other places. Small layers adapt the student's. The norms are not squared and not divided by
    the batch. Published on the four finest levels of a pyramid; the defaults are MMRazor's for Faster R-CNN. As there,
    the blocks pool twice, by 2 and by ``strides``.

    Args:
        features (float): The weight of the features. Defaults to 7e-5.
        channels (float): The weight of the channels. Defaults to 4e-3.
        places (float): The weight of the places. Defaults to 4e-3.
        relations (float): The weight of the relations. Defaults to 7e-5.
        tau (float): The temperature of the attention. Defaults to 0.5.
        reductions (Sequence[int]): By what the widths of the blocks are divided, for each level. Defaults to
            (4, 4, 2, 2).
        strides (Sequence[int]): By what the blocks pool, for each level. Defaults to (8, 4, 2, 2).
        loss_weight (float): Of all four. Defaults to 1.0.
    """

    alike = 'sizes'

    def __init__(
        self,
        features: float = 7e-5,
        channels: float = 4e-3,
        places: float = 4e-3,
        relations: float = 7e-5,
        tau: float = 0.5,
        reductions: Sequence[int] = (4, 4, 2, 2),
        strides: Sequence[int] = (8, 4, 2, 2),
        loss_weight: float = 1.0,
    ):
        super().__init__(loss_weight)
        weights = dict(features=features, channels=channels, places=places, relations=relations)
        self.weights = [check_weight(self.name, name, weight) for name, weight in weights.items()]
        self.tau = check_above_zero(self.name, 'tau', tau)
        self.reductions = [check_count(self.name, 'reductions', one) for one in reductions]
        self.strides = [check_count(self.name, 'strides', one) for one in strides]

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape]) -> None:
        """Make the layers of each level."""
        if not len(student) == len(self.reductions) == len(self.strides):
            raise UserError(
                f'{self.name}: reductions and strides need a number for each of {len(student)} levels, not '
                f'{len(self.reductions)} and {len(self.strides)}.'
            )
        widths = [(map_shape(own)[0], map_shape(target)[0]) for own, target in zip(student, teacher)]
        for (own, target), reduction, stride in zip(widths, self.reductions, self.strides):
            self.parts.append(_Level(own, target, reduction, stride, self.tau))

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The four norms of all levels, weighted."""
        norms = [part(own, target) for part, own, target in zip(self.parts, student, teacher, strict=True)]
        return weighted_sum(torch.stack(norms), self.weights)
