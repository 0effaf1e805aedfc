"""Builds the student's head from the teacher's, where a linear map joins their features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd.features.least_squares import LeastSquares
from mmkd.stages.plan import Stage


class CannotInherit(Exception):  # noqa: N818  (no error: the student learns its own head instead)
    """The student cannot inherit the head; the message says why."""


def state_of(network: nn.Module, part: Stage) -> dict[str, Tensor]:
    """Copies of the weights and statistics of a stage's layers."""
    layers = [name for name in part.modules if [*network.get_submodule(name).parameters(recurse=False)]]
    return {
        f'{name}.{key}': value.detach().clone()
        for name in layers
        for key, value in network.get_submodule(name).state_dict().items()
    }


def class_rows(own: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """The teacher's indices of the student's classes; None if they are the same or unnamed."""
    if not own or not theirs or tuple(own) == tuple(theirs):
        return None
    lacking = [name for name in own if name not in theirs]
    if lacking:
        raise CannotInherit(f'the teacher does not know the class {lacking[0]!r}')
    return [list(theirs).index(name) for name in own]


def inherit(
    own: dict[str, Tensor], theirs: dict[str, Tensor], maps: Sequence[LeastSquares], classes: Sequence[int] | None
) -> dict[str, Tensor]:
    """The teacher's weights in the student's shapes.

    A layer of the same shape is copied. A linear layer or convolution that reads a mimicked feature of another width
    is multiplied by the map between the two: ``W' = W A`` and ``b' = b + W a``. Where it has no bias, the mean that a
    batch norm behind it takes away becomes smaller by ``W a``.

    Args:
        own: Weights of the student's layers, by name.
        theirs: Of the teacher's.
        maps: From the student's features to the teacher's; none where the widths are the same.
        classes: The teacher's indices of the student's classes, where they differ.

    Raises:
        CannotInherit: The layers do not fit.
    """
    lacking = sorted(own.keys() ^ theirs.keys())
    if lacking:
        whose = 'teacher' if lacking[0] in own else 'student'
        raise CannotInherit(f'the {whose} has no {lacking[0]}')
    result = {name: _chosen(theirs[name].to(value), value, classes) for name, value in own.items()}
    for name, value in own.items():
        if result[name].shape == value.shape:
            continue
        weight, constant = _folded(name, result[name], value, maps)
        bias, mean = name.removesuffix('weight') + 'bias', _mean_behind(name, own)
        if bias in result:
            result[bias] = result[bias] + constant
        elif mean:
            result[mean] = result[mean] - constant
        else:
            raise CannotInherit(
                f'{_shapes(name, value, result[name])}, and no bias takes up the constant of the map between, nor a '
                'batch norm behind it'
            )
        result[name] = weight
    return result


def _mean_behind(name: str, own: dict[str, Tensor]) -> str:
    """The running mean of the one batch norm that shares a block with a convolution; ``''`` if there is none."""
    block = name.rpartition('.')[0].rpartition('.')[0]
    means = [key for key in own if key.startswith(f'{block}.') and key.endswith('.running_mean')]
    fitting = [key for key in means if own[key].shape == own[name].shape[:1]]
    return fitting[0] if len(fitting) == 1 else ''


def folded(own: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[tuple[int, ...]]:
    """The kernels of the layers that :func:`inherit` multiplies with a map; ``()`` is a linear layer's."""
    return [tuple(value.shape[2:]) for name, value in own.items() if value.shape[1:] != theirs[name].shape[1:]]


def _chosen(theirs: Tensor, own: Tensor, classes: Sequence[int] | None) -> Tensor:
    """The rows of the student's classes."""
    if classes is None or len(own) != len(classes):
        return theirs
    return theirs[torch.tensor(classes, device=theirs.device)]


def _shapes(name: str, own: Tensor, theirs: Tensor) -> str:
    return f'{name} is {tuple(own.shape)} in the student and {tuple(theirs.shape)} in the teacher'


def _folded(name: str, weight: Tensor, own: Tensor, maps: Sequence[LeastSquares]) -> tuple[Tensor, Tensor]:
    fitting = [m for m in maps if weight.shape[:2] == (own.shape[0], len(m.weight)) and own.shape[1] == m.width]
    if not fitting or weight.shape[2:] != own.shape[2:]:
        raise CannotInherit(_shapes(name, own, weight))
    if len(fitting) > 1:
        raise CannotInherit(f'{_shapes(name, own, weight)}, and of {len(fitting)} maps it is not known which it reads')
    (between,) = fitting
    folded = torch.einsum('oi...,ij->oj...', weight, between.weight.to(weight))
    constant = torch.einsum('oi...,i->o...', weight, between.bias.to(weight))
    return folded, constant.flatten(1).sum(1) if constant.ndim > 1 else constant
