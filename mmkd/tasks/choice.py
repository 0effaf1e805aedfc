"""Which task a pair of networks has."""

from torch import nn

from mmkd.errors import UserError
from mmkd.tasks.base import Task
from mmkd.tasks.classification import Classification
from mmkd.tasks.detection import Detection
from mmkd.teacher import Teacher

HEADS: dict[str, type[Task]] = {'head': Classification, 'bbox_head': Detection, 'roi_head': Detection}
"""The task by the part of a network that scores classes; the last that a network has counts."""


def task_of(student: nn.Module, teacher: Teacher) -> Task:
    """The task of a student, which must be its teacher's, too."""
    kinds = [_kind(key, network) for key, network in (('student', student), ('teacher', teacher.network))]
    if kinds[0] is not kinds[1]:
        raise UserError(
            f'model.teacher: it is a {type(teacher.network).__name__}, the student a {type(student).__name__}: their '
            'scores mean different things; take a teacher of the same kind, or mmkd.SSKD, which compares features.'
        )
    return kinds[0](student, teacher)


def _kind(key: str, network: nn.Module) -> type[Task]:
    kinds = [kind for part, kind in HEADS.items() if isinstance(getattr(network, part, None), nn.Module)]
    if not kinds:
        raise UserError(
            f'model.{key}: a {type(network).__name__} scores neither images nor boxes, and this method compares such '
            'scores; use mmkd.SSKD, which compares features.'
        )
    return kinds[-1]
