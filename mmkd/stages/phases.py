"""The phases of a run: which stages are learned together, and for how long."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from mmkd.errors import UserError, did_you_mean

ALL = 'all'  # every stage and the head together
Phase = tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """The phases of a run, one after the other.

    Args:
        phases: Names of the stages that are learned together in each.
        lengths: Of each, in epochs or iterations.
        unit: ``'epochs'`` or ``'iterations'``.
        stages: Names of all stages of the student, the head last.
    """

    phases: tuple[Phase, ...]
    lengths: tuple[int, ...]
    unit: str
    stages: Phase

    @cached_property
    def starts(self) -> list[int]:
        """The start of each phase."""
        return [0, *accumulate(self.lengths)][:-1]

    def at(self, position: int) -> int:
        """The index of the phase at a position."""
        return bisect_right(self.starts, position) - 1

    def name(self, index: int) -> str:
        """The name of a phase for logs."""
        return phase_name(self.phases[index], self.stages)

    def length(self, index: int) -> str:
        """The length of a phase with its unit."""
        return f'{self.lengths[index]:,} {self.unit if self.lengths[index] != 1 else self.unit[:-1]}'

    def __str__(self) -> str:
        lengths = ', '.join(f'{self.name(i)} {length}' for i, length in enumerate(self.lengths))
        return f'Schedule in {self.unit}: {lengths}'

    @property
    def in_words(self) -> str:
        """Each phase and its length, for logs."""
        return ', '.join(f'{self.name(i)} ({self.length(i)})' for i in range(len(self.lengths)))


def phase_name(phase: Phase, stages: Phase) -> str:
    """The name of a phase: its stages, or ``'all'``."""
    return ALL if len(stages) > 1 and set(phase) == set(stages) else '+'.join(phase)


def plan_phases(
    wanted: Iterable[str | Sequence[str]], stages: Phase, teachable: Sequence[str], unfreeze_last: bool
) -> tuple[Phase, ...]:
    """The phases that the user asks for.

    Args:
        wanted: Names of stages, or lists of names that are learned together.
        stages: Names of the student's stages, the head last.
        teachable: What can be learned without the head.
        unfreeze_last: Learn everything in the last phase.
    """
    phases = [(name,) if isinstance(name, str) else tuple(name) for name in wanted]
    known = [*stages, *(name for name in teachable if name not in stages), ALL]
    for phase in phases:
        for name in phase:
            check_name(name, known)
    phases = [stages if phase == (ALL,) else phase for phase in phases]
    learned = [name for phase in phases for name in ((ALL,) if phase == stages else phase)]
    if twice := next((name for name in learned if learned.count(name) > 1), ''):
        raise UserError(
            f'default_hooks.stages.stages: {twice} is named twice, and each is learned once; leave one out.'
        )
    head = stages[-1]
    for phase in phases:
        if head not in phase and (stuck := [name for name in phase if name not in teachable]):
            raise UserError(
                f"default_hooks.stages.stages: {', '.join(stuck)} cannot be learned without the head (the student's "
                f'config freezes it, or the method has no loss for it); leave it out or learn {ALL!r}.'
            )
    if unfreeze_last:
        if head not in phases[-1]:
            raise UserError(
                f'default_hooks.stages.unfreeze_last: only the head can teach all stages; put {head!r} into the last '
                'entry of stages.'
            )
        phases[-1] = stages
    return tuple(phases)


def check_name(name: str, known: Sequence[str], key: str = 'default_hooks.stages') -> None:
    """Raise an error for an unknown stage name."""
    if name not in known:
        raise UserError(
            f'{key}: the student has no stage {name}, only {", ".join(known)}.{did_you_mean(str(name), known)}'
        )


def check_stages(wanted: Any) -> Sequence | None:
    """Check the option ``stages``: a list of names, and of lists of names."""
    entries = wanted if isinstance(wanted, list | tuple) else [wanted]
    names = [name for entry in entries for name in (entry if isinstance(entry, list | tuple) else [entry])]
    if wanted is not None and (entries is not wanted or not names or not all(isinstance(name, str) for name in names)):
        raise UserError(
            f'default_hooks.stages.stages: it must be a list of names of stages, or of lists of names that are learned '
            f'together, not {wanted!r}.'
        )
    return wanted


def check_overrides(overrides: Any) -> dict:
    """Check the option ``overrides``: a dict for each stage."""
    if not isinstance(overrides, dict) or not all(isinstance(change, dict) for change in overrides.values()):
        raise UserError(
            'default_hooks.stages.overrides: it must be a dict of changes for each stage, such as '
            f'dict(head=dict(lr=0.01)), not {overrides!r}.'
        )
    return overrides
