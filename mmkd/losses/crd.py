"""Contrast with a memory of the training set (CRD, Tian et al., arXiv 1910.10699)."""

from collections.abc import Sequence
from math import prod

import torch
from mmengine.dist import all_gather
from torch import Tensor

from mmkd.errors import UserError
from mmkd.losses.common import Shape, check_above_zero, check_count, check_weight
from mmkd.losses.crd_memory import Side
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class CRDLoss(FeatureLoss):
    """Each network's embedding must find the other's embedding of the same image among those of many other images.

    The others are drawn, with replacement, among all images of other classes, whose embeddings are kept in a memory
    of the training set: two arrays of its length times ``dimensions``. Published on pooled features.

    Args:
        dimensions (int): Of the embeddings. Defaults to 128.
        negatives (int): How many other images. Defaults to 16384.
        tau (float): The temperature. Defaults to 0.07.
        momentum (float): Of the memory. Defaults to 0.5.
        loss_weight (float): Defaults to 0.8, as in RepDistiller.
    """

    alike = 'nothing'
    needs = ('indices', 'labels')
    build_needs = ('samples',)
    classes: Tensor

    def __init__(
        self,
        dimensions: int = 128,
        negatives: int = 16384,
        tau: float = 0.07,
        momentum: float = 0.5,
        loss_weight: float = 0.8,
    ):
        super().__init__(loss_weight)
        self.dimensions = check_count(self.name, 'dimensions', dimensions)
        self.negatives = check_count(self.name, 'negatives', negatives)
        self.tau = check_above_zero(self.name, 'tau', tau)
        self.momentum = check_weight(self.name, 'momentum', momentum, most=1)

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape], samples: int) -> None:  # type: ignore[override]
        """Make the embeddings and memories."""
        if len(student) > 1:
            raise UserError(f'{self.name}: it compares one feature, not {len(student)}; name one place.')
        if self.negatives >= samples:
            raise UserError(
                f'{self.name}: negatives is {self.negatives:,}, but the training set has {samples:,} images; '
                'take fewer.'
            )
        widths = prod(student[0]), prod(teacher[0])
        self.student, self.teacher = (Side(width, self.dimensions, samples) for width in widths)
        self.register_buffer('classes', torch.full((samples,), -1))  # of each image, once it was seen

    def pair(self, student: Tensor, teacher: Tensor, indices: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """The sum of both sides."""
        own, target = self.student(student), self.teacher(teacher)
        images = torch.cat([indices[:, None], self.draw(labels)], 1)
        loss = self.student.contrast(own, self.teacher.memory[images], self.tau)
        loss = loss + self.teacher.contrast(target, self.student.memory[images], self.tau)
        if self.training:
            indices, labels, own, target = (
                torch.cat(all_gather(one.detach())) for one in (indices, labels, own, target)
            )
            self.student.remember(indices, own, self.momentum)
            self.teacher.remember(indices, target, self.momentum)
            self.classes[indices] = labels
        return loss

    def draw(self, labels: Tensor) -> Tensor:
        """Images of other classes (N, negatives)."""
        others = (self.classes != labels[:, None]).float()
        return torch.multinomial(others, self.negatives, replacement=True)
