"""Pairs the stages of the student with those of the teacher."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.stages.plan import Stage, StagePlan, plan_stages


def pair_plans(
    student: nn.Module,
    student_inputs: Tensor,
    teacher: nn.Module,
    teacher_inputs: Tensor,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> tuple[StagePlan, StagePlan]:
    """The stage plans of both networks, with equally many stages; those of one index belong together.

    Named ``pairs`` are used as they are. Otherwise stages are paired by stride, and a stage of the student whose stride
    the teacher lacks is learned with the next one. They are paired by position where strides are ambiguous, or would
    separate the last stages of two networks with equally many. A neck is paired with a neck; one without a partner is
    learned with the head.
    """
    if pairs is not None:
        is_list = isinstance(pairs, list | tuple) and len(pairs) > 0
        if not is_list or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise UserError(f'model.pairs: {pairs} must be pairs of module paths: (of the student, of the teacher).')
        student_ends, teacher_ends = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        plan = plan_of('student', student, student_inputs, student_ends)
        return plan, plan_of('teacher', teacher, teacher_inputs, teacher_ends)
    plan, teacher_plan = plan_of('student', student, student_inputs), plan_of('teacher', teacher, teacher_inputs)
    student_ends, teacher_ends = (
        [stage.end for stage in stages] for stages in _choose(plan.stages, teacher_plan.stages)
    )
    if len(student_ends) < len(plan.stages):
        plan = plan_of('student', student, student_inputs, student_ends)
    if len(teacher_ends) < len(teacher_plan.stages):
        teacher_plan = plan_of('teacher', teacher, teacher_inputs, teacher_ends)
    return plan, teacher_plan


def plan_of(whose: str, network: nn.Module, inputs: Tensor, ends: Sequence[str] | None = None) -> StagePlan:
    """The plan with exactly these ends, or an error that names the network."""
    try:
        plan = plan_stages(network, inputs, ends)
    except UserError as error:
        raise UserError(f'model.{whose}: {error}' if ends is None else f'model.pairs, {whose}: {error}') from error
    if ends is not None and len(plan.stages) < len(ends):
        raise UserError(
            f'model.pairs, {whose}: no parameter lies between two of the ends {", ".join(ends)}; '
            f'only {", ".join(stage.end for stage in plan.stages)} remain.'
        )
    return plan


def _choose(students: Sequence[Stage], teachers: Sequence[Stage]) -> tuple[list[Stage], list[Stage]]:
    """The stages of both networks that have a partner."""
    student_neck, teacher_neck = ([stage for stage in stages if in_neck(stage)] for stages in (students, teachers))
    if not (student_neck and teacher_neck):
        student_neck, teacher_neck = [], []
    students, teachers = ([stage for stage in stages if not in_neck(stage)] for stages in (students, teachers))

    if not students:
        raise UserError('model.student: its backbone puts out neither maps nor tokens that a teacher could teach.')
    if not teachers:
        raise UserError('model.teacher: its backbone puts out neither maps nor tokens that could be mimicked.')
    by_stride = {stage.stride: stage for stage in teachers}
    shared = [stage for stage in students if stage.stride in by_stride]
    unique = len(by_stride) == len(teachers) and len({stage.stride for stage in students}) == len(students)
    # The last stage has a partner: the last, if there are equally many, whatever the strides (a stem may be smaller).
    equally = len(students) == len(teachers)
    if unique and students[-1] in shared and (not equally or students[-1].stride == teachers[-1].stride):
        return shared + student_neck, [by_stride[stage.stride] for stage in shared] + teacher_neck
    if equally:
        return students + student_neck, teachers + teacher_neck
    raise UserError(
        'model.pairs: the stages of the two networks do not match, neither by stride nor in number: '
        f'student {_ends(students)}; teacher {_ends(teachers)}. '
        'Name them: pairs=[(of the student, of the teacher), ...].'
    )


def in_neck(stage: Stage) -> bool:
    """Whether a stage ends in the neck."""
    return stage.end.split('.')[0] == 'neck'


def _ends(stages: Sequence[Stage]) -> str:
    return ', '.join(f'{stage.end} (stride {stage.stride})' for stage in stages)
