"""Adapters: they make a student's feature comparable to the teacher's. Train-time only.

The comparison happens in the teacher's layout: what comes out has the shape of the teacher's feature
of the same images, and the student's number format. For each tensor, in this order:

1. **Prefix tokens** (class tokens and the like) the teacher has no counterpart for are dropped.
2. **Sizes** that differ are joined by bilinear resizing to the size the teacher's feature has there
   and then, since training images may vary in size.
3. **Layouts** that differ: a token sequence is its prefix tokens and then the map, row by row. The
   teacher's prefix tokens that the student has no counterpart for are copied from the teacher, so
   that no loss sees a difference there and no gradient comes from it.
4. **Widths** that differ are joined by a linear map of each position, the least-squares fit to the
   teacher's feature, renewed with each batch. Equal widths get one only where the student's feature has no numbers
   below 0, as after a ReLU, and the teacher's has: the student could never reach those. Each level of a pyramid has
   its own, or all have one: a head that reads all of them can be multiplied with one only.
"""

from collections.abc import Callable, Sequence
from math import log2
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.features.capture import Feature
from mmkd.features.layout import Layout, StageLike
from mmkd.features.least_squares import LeastSquares
from mmkd.features.projector import Projector

LinearMap = LeastSquares | Projector
MapOf = Callable[[Layout, Layout], LinearMap | None]
"""Makes the map from the student's channels to the teacher's, if there is one."""


def fitted_map(student: Layout, teacher: Layout) -> LeastSquares | None:
    """The least-squares fit, where widths differ or the student lacks the numbers below 0."""
    reaches = student.signed or not teacher.signed
    return None if student.width == teacher.width and reaches else LeastSquares(student.width, teacher.width)


class Adapter(nn.Module):
    """Brings one tensor of the student's feature into the shape of one of the teacher's."""

    def __init__(self, student: Layout, teacher: Layout, map_of: MapOf = fitted_map):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.shared = min(student.prefix or 0, teacher.prefix or 0)  # the number of prefix tokens that both have
        (height, columns), (teacher_height, teacher_columns) = student.grid, teacher.grid
        same_aspect = height * teacher_columns == teacher_height * columns
        self.same_layout = student.prefix == teacher.prefix and (student.prefix is None or same_aspect)
        self.project = map_of(student, teacher)
        self.fits = isinstance(self.project, LeastSquares)  # else the adapters that share it do, or nothing

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The student's tensor in the shape of the teacher's; the same object if they do not differ."""
        if self.student.channels_last:
            student = student.movedim(-1, 1)
        if not self.teacher.channels_last:
            return self._adapted(student, teacher)
        return self._adapted(student, teacher.movedim(-1, 1)).movedim(1, -1)

    def _adapted(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, prefix = self._placed(student, teacher), self.teacher.prefix
        lacking = prefix is not None and prefix > self.shared
        comparable = torch.cat([teacher[:, : self.shared], teacher[:, prefix:]], dim=1) if lacking else teacher
        student = self._projected(student, comparable)
        if not lacking:
            return student
        copied = teacher[:, self.shared : prefix].detach().to(student.dtype)
        return torch.cat([student[:, : self.shared], copied, student[:, self.shared :]], dim=1)

    def pairs(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """The data of the fit: the vectors of two maps at the same positions."""
        return rows_of(self._placed(student, teacher)), rows_of(teacher)

    def _placed(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The student's tensor in the teacher's layout and size, with its own width, without missing prefix tokens."""
        if self.same_layout and self.student.places(student) == self.teacher.places(teacher):
            return student
        grid, teacher_grid = self.student.size(student), self.teacher.size(teacher)
        tokens = []
        if self.student.prefix is not None:
            tokens = [student[:, : self.shared]]
            student = student[:, self.student.prefix :].transpose(1, 2).unflatten(2, grid)
        if grid != teacher_grid:
            student = F.interpolate(student, teacher_grid, mode='bilinear', align_corners=False)
        if self.teacher.prefix is None:
            return student
        return torch.cat([*tokens, student.flatten(2).transpose(1, 2)], dim=1)

    def _projected(self, student: Tensor, target: Tensor) -> Tensor:
        if self.project is None:
            return student
        if self.training and self.fits:
            cast(LeastSquares, self.project).observe(rows_of(student), rows_of(target))
        weight = self.project.weight  # without autocast, layers accept only their own number format
        return self.project(student.to(weight.dtype)).to(student.dtype)


def rows_of(feature: Tensor) -> Tensor:
    """The vectors of all positions and images, as rows."""
    return (feature.movedim(1, -1) if feature.ndim == 4 else feature).flatten(0, -2)


class AdapterSet(nn.ModuleList):
    """One adapter for each tensor of the student's feature.

    Args:
        partners: For each of them the index of the teacher's tensor that it mimics.
        adapters: In the same order.
        one_map: Between all levels of a pyramid of maps, where all are between the same two widths.
    """

    def __init__(self, partners: Sequence[int], adapters: Sequence[Adapter], one_map: bool = False):
        super().__init__(adapters)
        self.partners = tuple(partners)
        project = adapters[0].project
        ends = [layout for adapter in adapters for layout in (adapter.student, adapter.teacher)]
        plain = not any(layout.channels_last or layout.prefix is not None for layout in ends)
        widths = {(adapter.student.width, adapter.teacher.width) for adapter in adapters}
        self.one_map = one_map and plain and project is not None and len(adapters) > len(widths) == 1
        if self.one_map:
            for adapter in adapters:
                adapter.project, adapter.fits = project, False

    def targets(self, teacher: Feature) -> Feature:
        """The teacher's tensors that the student's mimic."""
        return tuple(teacher[partner] for partner in self.partners)

    def forward(self, student: Feature, teacher: Feature) -> Feature:
        """The student's feature in the shape of its targets."""
        targets = self.targets(teacher)
        if self.one_map and self.training:
            self._fit(student, targets)
        return tuple(adapter(s, t) for adapter, s, t in zip(self, student, targets, strict=True))

    def _fit(self, student: Feature, targets: Feature) -> None:
        """Fit the map that all levels share to the positions of all of them."""
        levels = cast(list[Adapter], list(self))
        own, theirs = zip(*(level.pairs(s, t) for level, s, t in zip(levels, student, targets)))
        cast(LeastSquares, levels[0].project).observe(torch.cat(own), torch.cat(theirs))


def build_adapter(
    student: StageLike, teacher: StageLike, one_map: bool = False, map_of: MapOf = fitted_map
) -> AdapterSet:
    """The adapter of a pair of stages: called with both features, it gives the student's in the teacher's shape.

    Of pyramids, each of the student's levels mimics the teacher's of the nearest stride, of two the coarser. It has no
    parameters for an optimizer, and returns the very tensors where nothing differs. With ``one_map`` all levels
    of such a pyramid share one, if they can. ``map_of`` makes other maps between the channels.
    """
    layouts = [Layout.of(student, shape) for shape in student.shapes]
    targets = [Layout.of(teacher, shape) for shape in teacher.shapes]
    partners = list(range(len(layouts)))
    if len(layouts) > 1 or len(targets) > 1:
        strides, target_strides = level_strides(student, layouts), level_strides(teacher, targets)
        partners = [-min((abs(log2(s / t)), -i) for i, t in enumerate(target_strides))[1] for s in strides]
    return AdapterSet(partners, [Adapter(layout, targets[i], map_of) for layout, i in zip(layouts, partners)], one_map)


def level_strides(stage: StageLike, layouts: Sequence[Layout]) -> list[int]:
    """The strides of the tensors, which double from the finest on; sizes that do not divide are rounded."""
    assert stage.stride is not None
    assert stage.grid is not None
    return [stage.stride * 2 ** round(log2(max(stage.grid) / max(layout.grid))) for layout in layouts]


def module_key(name: str) -> str:
    """A stage's name in a form that a submodule may have."""
    return name.replace('.', '_')
