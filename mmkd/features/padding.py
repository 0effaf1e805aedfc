"""Pads batches as a network's own config asks for, and cuts features back to the size before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.features.capture import Feature


def divisor_of(preprocessor: nn.Module) -> int:
    """Pads the sides of a batch to multiples of a number."""
    return getattr(preprocessor, 'pad_size_divisor', 1)


@dataclass(frozen=True)
class Padded:
    """A batch with added rows below and columns on the right.

    Args:
        inputs: With them.
        size: Height and width without.
    """

    inputs: Tensor
    size: tuple[int, int]

    @classmethod
    def to_multiples(cls, inputs: Tensor, divisor: int, value: float = 0) -> 'Padded':
        """Pad a batch; the same tensor if its sides are multiples already."""
        height, width = inputs.shape[-2:]
        below, right = -height % divisor, -width % divisor
        grown = F.pad(inputs, (0, right, 0, below), value=value) if below or right else inputs
        return cls(grown, (height, width))

    def cut(self, feature: Feature) -> Feature:
        """The part of maps (N, C, H, W) of the padded batch that lies over the original images."""
        grown = self.inputs.shape[-2:]
        if grown == self.size:
            return feature
        shares = [Fraction(before, now) for before, now in zip(self.size, grown)]
        return tuple(_cut(tensor, shares) for tensor in feature)


def _cut(map_: Tensor, shares: Sequence[Fraction]) -> Tensor:
    """Round sizes up, as networks do."""
    rows, columns = (math.ceil(side * share) for side, share in zip(map_.shape[-2:], shares))
    return map_[..., :rows, :columns]
