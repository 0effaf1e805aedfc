"""The layout of a feature: a map, or prefix tokens followed by the positions of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Protocol

from torch import Tensor

from mmkd.errors import UserError


class StageLike(Protocol):
    """The attributes of a stage that an adapter needs: see :class:`mmkd.stages.plan.Stage`."""

    @property
    def name(self) -> str:
        """The stage's name in messages."""

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """Its tensors' shapes without the batch: (C, H, W) or (H, W, C) for a map, (L, C) for tokens."""

    @property
    def stride(self) -> int | None:
        """The stride of the finest tensor; None for a head."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """(H, W) of the finest tensor, so that L tokens are prefix tokens and H*W positions; None for a head."""

    @property
    def signed(self) -> bool:
        """Whether it has numbers below 0."""


@dataclass(frozen=True)
class Layout:
    """The layout of one tensor: a map if ``prefix`` is None, otherwise that many prefix tokens and a grid's positions.

    ``grid`` is that of the plan; other images have another one, of the same aspect ratio.
    """

    name: str
    width: int
    grid: tuple[int, int]
    prefix: int | None = None
    channels_last: bool = False  # a map of shape (H, W, C)
    signed: bool = True  # whether it has numbers below 0

    @classmethod
    def of(cls, stage: StageLike, shape: tuple[int, ...]) -> 'Layout':
        """The layout of one of a stage's tensors."""
        if len(shape) not in (2, 3) or stage.grid is None:
            raise UserError(
                f'{stage.name}: a feature must be a map (C, H, W) or tokens (L, C) to be mimicked, '
                f'but has the shape {tuple(shape)}; choose another stage.'
            )
        grids = [stage.grid]  # strides of the finest level and of coarser ones
        while grids[-1] != (1, 1):
            grids.append(((grids[-1][0] + 1) // 2, (grids[-1][1] + 1) // 2))
        if len(shape) == 3:
            channels_last = shape[:2] in grids and shape[1:] not in grids
            width, *size = (shape[2], *shape[:2]) if channels_last else shape
            return cls(stage.name, width, (size[0], size[1]), None, channels_last, stage.signed)
        tokens, width = shape
        rows, columns = next(grid for grid in grids if grid[0] * grid[1] <= tokens)
        return cls(stage.name, width, (rows, columns), tokens - rows * columns, signed=stage.signed)

    def size(self, tensor: Tensor) -> tuple[int, int]:
        """The height and width of a tensor."""
        if self.prefix is None:
            return tensor.shape[2], tensor.shape[3]
        positions = tensor.shape[1] - self.prefix
        height, columns = self.grid
        # positions = (k * height) * (k * columns), where k * height is whole
        rows = isqrt(max(positions, 0) * height // columns)
        if rows * columns % height or rows * (rows * columns // height) != positions or not rows:
            raise UserError(
                f'{self.name}: {tensor.shape[1]} tokens, {self.prefix} of them prefix tokens, make no grid with the '
                f'aspect ratio {height}:{columns} of the stage plan; train with images of one aspect ratio.'
            )
        return rows, rows * columns // height

    def places(self, tensor: Tensor) -> tuple[int, ...]:
        """Rows and columns of a map, the number of tokens."""
        return tuple(tensor.shape[2:] if self.prefix is None else tensor.shape[1:2])
