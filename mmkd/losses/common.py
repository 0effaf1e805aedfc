"""What losses share: checks of their arguments, and features brought into one form."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError, did_you_mean
from mmkd.utils import numbers

Feature = Tensor | Sequence[Tensor]
Shape = tuple[int, ...]
"""Of a feature without the batch: (C, H, W) of a map, (L, C) of tokens, (C,) of a vector."""


def check_weight(loss: str, name: str, value: float, most: float = math.inf) -> float:
    """A weight or share as it is, or an error."""
    return numbers.check_weight(f'{loss}: {name}', value, most)


def check_above_zero(loss: str, name: str, value: float) -> float:
    """A temperature or size as it is, or an error."""
    if not numbers.is_number(value) or not 0 < value < math.inf:
        raise UserError(f'{loss}: {name} must be a finite number above 0, not {value!r}.')
    return value


def check_count(loss: str, name: str, value: int) -> int:
    """A whole number above 0 as it is, or an error."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f'{loss}: {name} must be a whole number above 0, not {value!r}.')
    return value


def check_choice(loss: str, name: str, value: str, choices: Sequence[str]) -> str:
    """One of these words, or an error with the nearest."""
    if value not in choices:
        near = did_you_mean(str(value), choices)
        raise UserError(f'{loss}: {name} must be one of {", ".join(choices)}, not {value!r}.{near}')
    return value


def check_given(loss: str, needs: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse a call without what a loss needs."""
    lacking = [name for name in needs if given.get(name) is None]
    if lacking:
        raise UserError(f'{loss}: it needs {" and ".join(lacking)}, which nobody gives it here; take another loss.')


def exact(tensor: Tensor) -> Tensor:
    """In float32 at least."""
    return tensor if tensor.element_size() > 4 else tensor.float()


def times(weight: float, loss: Tensor) -> Tensor:
    """A loss times its weight; with a weight of 1 as it is, which spares a launch here and one in the backward pass."""
    return loss if weight == 1 else weight * loss


def weighted_sum(levels: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum of terms (levels, terms), each times its weight; no weight has to be copied to the device."""
    return torch.stack([weight * term for weight, term in zip(weights, levels.sum(0), strict=True)]).sum()


def tensors(feature: Feature) -> list[Tensor]:
    """The tensors of a feature: of a pyramid one a level."""
    return [feature] if isinstance(feature, Tensor) else list(feature)


def as_map(feature: Tensor) -> Tensor:
    """Tokens (N, L, C) as (N, C, L, 1), a vector (N, C) as (N, C, 1, 1), a map as it is."""
    if feature.ndim == 4:
        return feature
    return feature.transpose(1, 2).unsqueeze(3) if feature.ndim == 3 else feature[:, :, None, None]


def map_shape(shape: Shape) -> tuple[int, int, int]:
    """The shape that :func:`as_map` gives."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return (shape[1], shape[0], 1) if len(shape) == 2 else (shape[0], 1, 1)


def to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps of one size: the larger averaged over the positions of the smaller."""
    height, width = (min(sides) for sides in zip(student.shape[2:], teacher.shape[2:]))
    return pooled_to(student, (height, width)), pooled_to(teacher, (height, width))


def pooled_to(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """A map averaged to a size; the very map where it has it."""
    return feature if feature.shape[2:] == size else F.adaptive_avg_pool2d(feature, size)


def in_words(shapes: Sequence[Shape]) -> str:
    """For messages."""
    return ', '.join(str(tuple(shape)) for shape in shapes)
