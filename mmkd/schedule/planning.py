"""Turns the options of the schedule into phases with lengths."""

from collections.abc import Sequence

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.features.adapters import module_key
from mmkd.schedule.budget import check_lengths, check_numbers, default_fractions, split_budget
from mmkd.stages.phases import Schedule, check_name, check_overrides, check_stages, phase_name, plan_phases
from mmkd.stages.plan import Stage


class PlanOptions:
    """The user's options for phases; arguments as in :class:`mmkd.hooks.StageScheduleHook`."""

    def __init__(
        self,
        stages: Sequence | None,
        fractions: Sequence[float] | None,
        lengths: Sequence[int] | None,
        overrides: dict[str, dict] | None,
        unfreeze_last: bool | None,
    ):
        if fractions is not None and lengths is not None:
            raise UserError('default_hooks.stages: fractions and lengths say the same thing twice; give one of them.')
        self.stages = check_stages(stages)
        self.fractions = check_numbers('fractions', fractions)
        self.lengths = check_numbers('lengths', lengths)
        self.overrides = check_overrides(overrides or {})
        self.unfreeze_last = unfreeze_last

    def plan(self, distiller: Distiller, epochs: int | None, iterations: int) -> Schedule:
        """Divide the student's own budget among the phases.

        Args:
            distiller: It has found its stages.
            epochs: Of the budget; None where the loop counts iterations.
            iterations: Of the budget.
        """
        stages = tuple(stage.name for stage in distiller.plan)
        by_default = self.stages is None
        unfreezes = distiller.unfreezes_last and by_default if self.unfreeze_last is None else self.unfreeze_last
        left_out = distiller.left_out() if by_default and unfreezes else ()
        wanted = self.stages or [name for name in distiller.default_phases() if name not in left_out]
        phases = plan_phases(wanted, stages, distiller.teachable, unfreezes)
        names = [phase_name(phase, stages) for phase in phases]
        for name in self.overrides:
            check_name(name, names, 'default_hooks.stages.overrides')
        total, unit = (iterations, 'iterations') if epochs is None else (epochs, 'epochs')
        if self.lengths is not None:
            if sum(self.lengths) == iterations != total:  # an epoch loop accepts them as well
                total, unit = iterations, 'iterations'
            lengths = check_lengths(total, names, self.lengths, unit, iterations)
        else:
            fractions = self.fractions or default_fractions(names, stages[-1] in phases[-1], len(left_out))
            lengths = split_budget(total, names, fractions, unit)
        return Schedule(phases, tuple(lengths), unit, stages)


def plan_in_words(distiller: Distiller, schedule: Schedule) -> str:
    """Describe the student's stages, what each learns from, and the schedule."""
    counts = {name: p.numel() for name, p in distiller.student.named_parameters()}
    widest = max(len(_sizes(stage)) for stage in distiller.plan)
    lines = ['Stage plan of the student:']
    for stage in distiller.plan:
        size = sum(counts[name] for name in stage.parameters)
        learns_from = _learns_from(distiller, stage, schedule)
        lines.append(f'  {stage.name:<24}{size:>12,} parameters  {_sizes(stage):<{widest}}  {learns_from}')
    return '\n'.join([*lines, str(schedule)])


def _sizes(stage: Stage) -> str:
    """Those of a stage's tensors, such as ``64x8x8, 64x4x4``."""
    return ', '.join('x'.join(map(str, shape)) for shape in stage.shapes)


def _learns_from(distiller: Distiller, stage: Stage, schedule: Schedule) -> str:
    """What a stage learns from, for logs."""
    networks = distiller.networks
    if module_key(stage.name) in distiller.extras:
        teacher = networks.teacher_stages[stage.name]
        return f'mimics {teacher.end} {_sizes(teacher)}'
    if stage is networks.plan.head:
        learns = any(stage.name in phase for phase in schedule.phases)
        return 'learns the task' if learns else 'does not learn'
    if networks.is_frozen(stage):
        return "is frozen by the student's config"
    if stage.name in distiller.left_out() and not any(stage.name in phase for phase in schedule.phases[:-1]):
        return 'starts from pretrained weights, learns in the last phase'
    return 'has no loss of its own'
