"""The option ``attach``: where auxiliary heads are, on the student and on the teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmkd.errors import UserError, did_you_mean
from mmkd.stages.plan import Stage, StagePlan, plan_stages

KEY = 'model.attach'


@dataclass(frozen=True)
class Attachment:
    """A pair of stages with auxiliary heads."""

    name: str
    student: Stage
    teacher: Stage


def attach_points(
    wanted: Sequence,
    plan: StagePlan,
    teacher_stages: Mapping[str, Stage],
    student: tuple[nn.Module, Tensor],
    teacher: tuple[nn.Module, Tensor],
) -> list[Attachment]:
    """The pairs of stages with heads.

    Args:
        wanted: Indices or names of the student's stages, module paths that both networks have, or pairs of paths.
        plan: Of the student.
        teacher_stages: The teacher's stages that are paired with them, by name.
        student: The network and a batch as it gets it.
        teacher: The same of the teacher.
    """
    if not wanted or not isinstance(wanted, list | tuple):
        raise UserError(f'{KEY}: {wanted!r} must be a list of one place or more; for no heads at all use mmkd.KD.')
    points = [attach_point(entry, plan, teacher_stages, student, teacher) for entry in wanted]
    found = [point.name for point in points]
    if len(set(found)) < len(found):
        raise UserError(f'{KEY}: {list(wanted)} names a place twice; each gets one head.')
    return points


def attach_point(
    entry: Any,
    plan: StagePlan,
    teacher_stages: Mapping[str, Stage],
    student: tuple[nn.Module, Tensor],
    teacher: tuple[nn.Module, Tensor],
    key: str = KEY,
) -> Attachment:
    """One pair of stages; arguments as above, with the key for messages."""
    names = [stage.name for stage in plan.stages]
    if isinstance(entry, int) and not isinstance(entry, bool):
        if not -len(names) <= entry < len(names):
            raise UserError(f'{key}: there is no stage {entry}; the student has {len(names)}: {", ".join(names)}.')
        entry = names[entry]
    if isinstance(entry, str) and entry in names:
        return Attachment(entry, plan.stages[names.index(entry)], teacher_stages[entry])
    paths = (entry, entry) if isinstance(entry, str) else entry
    if not isinstance(paths, tuple | list) or len(paths) != 2 or not all(isinstance(path, str) for path in paths):
        raise UserError(f'{key}: {entry!r} must be the index or name of a stage, a module path or a pair of paths.')
    student_stage = _stage(f'{key}, student', student, paths[0], names)
    teacher_stage = _stage(f'{key}, teacher', teacher, paths[1], [])
    return Attachment(student_stage.name, student_stage, teacher_stage)


def _stage(key: str, network: tuple[nn.Module, Tensor], path: str, names: list[str]) -> Stage:
    try:
        stages = plan_stages(*network, [path]).stages
    except UserError as error:
        near = '' if 'Did you mean' in str(error) else did_you_mean(path, names)
        raise UserError(f'{key}: {error}{near}') from error
    if not stages:
        raise UserError(f'{key}: nothing is learned before {path}.')
    return stages[0]
