"""The interface of losses between a student's features and its teacher's."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.losses.common import (
    Feature,
    Shape,
    as_map,
    check_given,
    check_weight,
    exact,
    in_words,
    map_shape,
    tensors,
    times,
)
from mmkd.utils.autocast import without_autocast


class FeatureLoss(nn.Module):
    """A distance between features of a student and of its teacher.

    A method builds it from its config, then calls ``build_for`` with the features' shapes, so that parameters of its
    own exist before the optimizer; then, in each iteration, the loss itself with both networks' features: a tensor, or
    the tensors of a pyramid's levels or of several places, from shallow to deep. The value is the sum over the tensors
    unless a loss says otherwise. Everything is computed in float32 at least, under autocast too, and no gradient
    reaches the teacher. A subclass defines ``pair``, or ``compare`` for all tensors together, and ``build`` if it
    learns. Both get maps (N, C, H, W): tokens (N, L, C) come as (N, C, L, 1), vectors as (N, C, 1, 1).

    Four class attributes say what a loss asks for:

    - ``at_once``: it relates places to each other, so one call gets the tensors of all of them.
    - ``alike``: what of both networks' features must be equal, ``'shapes'``, ``'sizes'`` (all but the widths) or
      ``'nothing'``. If it is not, an adapter must bring the student's features into the shape of the teacher's first.
    - ``needs``: keyword arguments of each call. ``labels``: (N,), the class of each image. ``indices``: (N,), the place
      of each image in the training set. ``boxes``: of each image the true boxes (n, 4) as x1, y1, x2, y2 in pixels.
      ``image_sizes``: of each image (height, width) without padding. ``teacher_head``: a callable from pooled features
      (N, C) to the teacher's class scores.
    - ``build_needs``: keyword arguments of ``build_for``. ``samples``: how many images the training set has.
      ``teacher_norms``: for each tensor the weight and bias of the batch norm of the teacher that it comes out of.

    Args:
        loss_weight (float): A finite number that is not negative.
    """

    at_once: ClassVar[bool] = False
    alike: ClassVar[str] = 'shapes'
    needs: ClassVar[tuple[str, ...]] = ()
    build_needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = check_weight(self.name, 'loss_weight', loss_weight)

    @property
    def name(self) -> str:
        """In messages."""
        return type(self).__name__

    def build_for(self, student: Sequence[Shape], teacher: Sequence[Shape], **given: Any) -> None:
        """Make what the loss has to learn. The shapes are those of the tensors that it will get, without the batch."""
        check_given(self.name, self.build_needs, given)
        self._check(student, teacher, vector=1)
        self.build(student, teacher, **given)

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape], *args: Any, **given: Any) -> None:
        """Nothing, unless a loss has parameters of its own."""

    def forward(self, student: Feature, teacher: Feature, **given: Any) -> Tensor:
        """The loss as a scalar."""
        check_given(self.name, self.needs, given)
        own, theirs = tensors(student), tensors(teacher)
        self._check([one.shape for one in own], [one.shape for one in theirs], vector=2)
        with without_autocast(own[0]):
            maps = [as_map(exact(feature)) for feature in own]
            targets = [as_map(exact(feature.detach())) for feature in theirs]
            return times(self.loss_weight, self.compare(maps, targets, **given))

    def compare(self, student: list[Tensor], teacher: list[Tensor], *args: Any, **given: Any) -> Tensor:
        """The distance of all tensors."""
        return torch.stack([self.pair(own, target, *args, **given) for own, target in zip(student, teacher)]).sum()

    def pair(self, student: Tensor, teacher: Tensor, *args: Any, **given: Any) -> Tensor:
        """The distance of two maps."""
        raise NotImplementedError

    def _check(self, student: Sequence[Shape], teacher: Sequence[Shape], vector: int) -> None:
        """Refuse shapes that cannot be compared; those of vectors have this many axes."""
        if list(student) == list(teacher):  # in nearly every iteration
            return
        sizes = [[map_shape(shape[vector - 1 :])[1:] for shape in shapes] for shapes in (student, teacher)]
        differ = {'shapes': list(student) != list(teacher), 'sizes': sizes[0] != sizes[1], 'nothing': False}
        if differ[self.alike]:
            raise UserError(
                f"{self.name}: the student's feature of shape {in_words(student)} and the teacher's of shape "
                f'{in_words(teacher)} differ; an adapter must make them alike first, as adapt=True of a term does.'
            )
        layouts = [{len(own), len(target)} for own, target in zip(student, teacher)]
        if len(student) != len(teacher) or any(len(pair - {vector}) > 1 for pair in layouts):
            raise UserError(
                f"{self.name}: the student's feature of shape {in_words(student)} and the teacher's of shape "
                f'{in_words(teacher)} cannot be compared; an adapter must bring them into one layout first, as '
                'adapt=True of a term does.'
            )

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'loss_weight={self.loss_weight}'


class LearnedFeatureLoss(FeatureLoss):
    """A loss with parameters of its own: for each pair of tensors a part, a module that gives their distance."""

    alike = 'nothing'

    def __init__(self, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.parts = nn.ModuleList()

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape], *args: Any, **given: Any) -> None:
        """Make the parts."""
        shapes = zip(student, teacher)
        self.parts.extend(self.part(map_shape(own), map_shape(target)) for own, target in shapes)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The part for maps of these shapes."""
        raise NotImplementedError

    def compare(self, student: list[Tensor], teacher: list[Tensor], *args: Any, **given: Any) -> Tensor:
        """The sum over the parts."""
        assert len(self.parts) == len(student), f'{self.name}.build_for was not called for these tensors'
        parts = zip(self.parts, student, teacher)
        return torch.stack([part(own, target, *args, **given) for part, own, target in parts]).sum()
