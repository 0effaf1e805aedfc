"""Builds the student's head from the teacher's, where a linear map joins their features."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmkd.features.adapters import LinearMap
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


def layers_outside(network: nn.Module, parts: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Copies of the weights and statistics of each layer that lies in none of these children."""
    layers = {
        path: layer
        for path, layer in network.named_modules()
        if path.split('.')[0] not in parts and [*layer.parameters(recurse=False)]
    }
    return {
        path: {name: value.detach().clone() for name, value in layer.state_dict().items()}
        for path, layer in layers.items()
    }


def alike(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor] | None) -> bool:
    """Whether two layers have weights of the same names and shapes."""
    shapes = [{name: value.shape for name, value in layer.items()} for layer in (own, theirs or {})]
    return shapes[0] == shapes[1]


def class_rows(student: Sequence[str], teacher: Sequence[str]) -> list[int] | None:
    """The teacher's indices of the student's classes; None if they are the same or unnamed."""
    if not student or not teacher or tuple(student) == tuple(teacher):
        return None
    lacking = [name for name in student if name not in teacher]
    if lacking:
        raise CannotInherit(f'the teacher does not know the class {lacking[0]!r}')
    return [list(teacher).index(name) for name in student]


def inherit(
    student: dict[str, Tensor], teacher: dict[str, Tensor], maps: Sequence[LinearMap], classes: Sequence[int] | None
) -> dict[str, Tensor]:
    """The teacher's weights in the student's shapes.

    A layer of the same shape is copied. A linear layer or convolution that reads a mimicked feature of another width
    is multiplied by the map between the two: ``W' = W A`` and ``b' = b + W a``. Where it has no bias, the mean that a
    batch norm behind it takes away becomes smaller by ``W a``.

    Args:
        student: Weights of the student's layers, by name.
        teacher: Those of the teacher's.
        maps: From the student's features to the teacher's; a fit only where the widths differ.
        classes: The teacher's indices of the student's classes, where they differ.

    Raises:
        CannotInherit: The layers do not fit.
    """
    lacking = sorted(student.keys() ^ teacher.keys())
    if lacking:
        whose = 'teacher' if lacking[0] in student else 'student'
        raise CannotInherit(f'the {whose} has no {lacking[0]}')
    result = {name: _chosen(teacher[name].to(value), value, classes) for name, value in student.items()}
    for name, value in student.items():
        if result[name].shape == value.shape and not _fitting(result[name], value, maps):
            continue
        weight, constant = _folded(name, result[name], value, maps)
        bias, mean = name.removesuffix('weight') + 'bias', _mean_behind(name, student)
        if bias in result:
            result[bias] = result[bias] + constant
        elif mean:
            result[mean] = result[mean] - constant
        else:
            raise CannotInherit(
                f'{_shapes(name, value, result[name])}, and it has neither a bias nor a batch norm behind it for the '
                'constant of the map between'
            )
        result[name] = weight
    return result


def _mean_behind(name: str, student: dict[str, Tensor]) -> str:
    """The running mean of the one batch norm that shares a block with a convolution; ``''`` if there is none."""
    block = name.rpartition('.')[0].rpartition('.')[0]
    means = [key for key in student if key.startswith(f'{block}.') and key.endswith('.running_mean')]
    fitting = [key for key in means if student[key].shape == student[name].shape[:1]]
    return fitting[0] if len(fitting) == 1 else ''


def folded(student: dict[str, Tensor], teacher: dict[str, Tensor], maps: Sequence[LinearMap]) -> list[tuple[int, ...]]:
    """The kernels of the layers that :func:`inherit` multiplies with a map; ``()`` is a linear layer's."""
    pairs = [(value, teacher[name]) for name, value in student.items()]
    return [
        tuple(value.shape[2:])
        for value, weight in pairs
        if value.shape[1:] != weight.shape[1:] or _fitting(weight, value, maps)
    ]


def _chosen(teacher: Tensor, student: Tensor, classes: Sequence[int] | None) -> Tensor:
    """The rows of the student's classes."""
    if classes is None or len(student) != len(classes):
        return teacher
    return teacher[torch.tensor(classes, device=teacher.device)]


def _shapes(name: str, student: Tensor, teacher: Tensor) -> str:
    return f'{name} is {tuple(student.shape)} in the student and {tuple(teacher.shape)} in the teacher'


def _fitting(weight: Tensor, student: Tensor, maps: Sequence[LinearMap]) -> list[LinearMap]:
    """The maps between what two layers read."""
    widths = student.shape[1:2], weight.shape[1:2]
    return [m for m in maps if widths == ((m.width,), (len(m.weight),))]


def _folded(name: str, weight: Tensor, student: Tensor, maps: Sequence[LinearMap]) -> tuple[Tensor, Tensor]:
    fitting = _fitting(weight, student, maps)
    if not fitting or (weight.shape[:1], weight.shape[2:]) != (student.shape[:1], student.shape[2:]):
        raise CannotInherit(_shapes(name, student, weight))
    if len(fitting) > 1:
        raise CannotInherit(
            f'{_shapes(name, student, weight)}, and of {len(fitting)} maps it is not known which it reads'
        )
    (between,) = fitting
    folded = torch.einsum('oi...,ij->oj...', weight, between.weight.to(weight))
    constant = torch.einsum('oi...,i->o...', weight, between.bias.to(weight))
    return folded, constant.flatten(1).sum(1) if constant.ndim > 1 else constant
