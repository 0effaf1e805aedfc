"""How much of the teacher's feature the student's explains: R squared, with each channel's mean as the zero."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkd.features.adapters import rows_of

R2 = 'r2_'  # prefix of a stage's name in logs


def variance_parts(own: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """The parts of R squared as a row of numbers that can be averaged over batches.

    The squared error, the squared target, and the target's mean in each channel; of a pyramid, those of all levels.
    """
    pairs = [(rows_of(a).double(), rows_of(b).double()) for a, b in zip(own, target)]
    error = sum((a - b).square().sum(1).mean() for a, b in pairs)
    square = sum(b.square().sum(1).mean() for _, b in pairs)
    return torch.cat([torch.stack([error, square]), *(b.mean(0) for _, b in pairs)])  # type: ignore[list-item]


def explained_variance(parts: Tensor) -> float:
    """R squared from averaged rows: 1 is a perfect fit, 0 is no better than the channel means."""
    error, square, means = parts[0], parts[1], parts[2:]
    return float(1 - error / (square - means.square().sum()).clamp(min=1e-12))
