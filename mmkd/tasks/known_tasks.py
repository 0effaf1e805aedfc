"""Finds the task of a network."""

from torch import nn

from mmkd.errors import UserError
from mmkd.tasks.base import Task
from mmkd.tasks.classification import Classification
from mmkd.tasks.detection import Detection
from mmkd.tasks.embedding import Embedding
from mmkd.teacher.network import Teacher

TASKS: list[type[Task]] = [Classification, Embedding, Detection]
"""Of several that fit a network, the last one counts."""


def register_task(kind: type[Task]) -> type[Task]:
    """Register a task: a decorator, for modules that a config names in ``custom_imports``."""
    TASKS.append(kind)
    return kind


def kind_of(network: nn.Module) -> type[Task] | None:
    """The task of a network, None if it is unknown."""
    return next((kind for kind in reversed(TASKS) if kind.parts_of(network)), None)


def scoring_parts() -> tuple[str, ...]:
    """The names of all children of networks that compute scores."""
    return tuple(part for kind in TASKS for part in kind.parts)


def task_of(student: nn.Module, teacher: Teacher) -> Task:
    """The task of a student; the teacher must have the same."""
    kinds = [_known_kind(key, network) for key, network in (('student', student), ('teacher', teacher.network))]
    if not issubclass(kinds[0], kinds[1]) and not issubclass(kinds[1], kinds[0]):  # a head with or without a margin
        raise UserError(
            f'model.teacher: it is a {type(teacher.network).__name__}, the student a {type(student).__name__}: their '
            'scores mean different things; take a teacher of the same kind, or mmkd.SSKD without alpha, which compares '
            'features.'
        )
    return kinds[0](student, teacher)


def _known_kind(key: str, network: nn.Module) -> type[Task]:
    kind = kind_of(network)
    if kind is None:
        raise UserError(
            f'model.{key}: a {type(network).__name__} scores neither images nor boxes, and this method compares such '
            'scores; use mmkd.SSKD without alpha, which compares features.'
        )
    return kind
