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
        own, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return plan_of('student', student, student_inputs, own), plan_of('teacher', teacher, teacher_inputs, theirs)
    plan, teacher_plan = plan_of('student', student, student_inputs), plan_of('teacher', teacher, teacher_inputs)
    own, theirs = ([stage.end for stage in stages] for stages in _choose(plan.stages, teacher_plan.stages))
    if len(own) < len(plan.stages):
        plan = plan_of('student', student, student_inputs, own)
    if len(theirs) < len(teacher_plan.stages):
        teacher_plan = plan_of('teacher', teacher, teacher_inputs, theirs)
    return plan, teacher_plan


def plan_of(whose: str, network: nn.Module, inputs: Tensor, ends: Sequence[str] | None = None) -> StagePlan:
    """The plan with exactly these ends, or an error that names the network."""
    try:
        plan = plan_stages(network, inputs, ends)
    except UserError as error:
        raise UserError(f'model.{whose}: {error}' if ends is None else f'model.pairs, {whose}: {error}') from error
    if ends is not None and len(plan.stages) < len(ends):
        raise UserError(
            f'model.pairs, {whose}: between two of the ends {", ".join(ends)} lies no parameter; '
            f'only {", ".join(stage.end for stage in plan.stages)} remain.'
        )
    return plan


def _choose(own: Sequence[Stage], theirs: Sequence[Stage]) -> tuple[list[Stage], list[Stage]]:
    """The stages of both networks that have a partner."""
    own_neck, their_neck = ([stage for stage in stages if in_neck(stage)] for stages in (own, theirs))
    if not (own_neck and their_neck):
        own_neck, their_neck = [], []
    own, theirs = ([stage for stage in stages if not in_neck(stage)] for stages in (own, theirs))

    if not own:
        raise UserError('model.student: its backbone puts out neither maps nor tokens that a teacher could teach.')
    if not theirs:
        raise UserError('model.teacher: its backbone puts out neither maps nor tokens that could be mimicked.')
    by_stride = {stage.stride: stage for stage in theirs}
    shared = [stage for stage in own if stage.stride in by_stride]
    unique = len(by_stride) == len(theirs) and len({stage.stride for stage in own}) == len(own)
    # The last stage has a partner: the last, if there are equally many, whatever the strides (a stem may be smaller).
    equally = len(own) == len(theirs)
    if unique and own[-1] in shared and (not equally or own[-1].stride == theirs[-1].stride):
        return shared + own_neck, [by_stride[stage.stride] for stage in shared] + their_neck
    if equally:
        return own + own_neck, theirs + their_neck
    raise UserError(
        'model.pairs: the stages of the two networks do not match, neither by stride nor in number: '
        f'student {_listed(own)}; teacher {_listed(theirs)}. Name them: pairs=[(of the student, of the teacher), ...].'
    )


def in_neck(stage: Stage) -> bool:
    """Whether a stage ends in the neck."""
    return stage.end.split('.')[0] == 'neck'


def _listed(stages: Sequence[Stage]) -> str:
    return ', '.join(f'{stage.end} (stride {stage.stride})' for stage in stages)
