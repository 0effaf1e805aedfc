"""How far the teachers of a table are ahead, and whose teacher was another than its teacher row."""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from arena import Arena, Row, Training
from results import FINISHED

Students = Sequence[tuple[Row, Sequence[dict]]]  # rows, and the results of each by seed


def lead(taught: Sequence[float], alone: Sequence[float]) -> str:
    """A sentence on how far the teacher is ahead of the student alone; what is missing, where it is not known.

    Args:
        taught: The figures of the teachers that the students had, the lowest first.
        alone: Of the student alone, by seed.
    """
    if not alone or not taught:
        missing = 'student alone' if not alone else 'teacher'
        return f"The teacher's lead is not known here: the {missing} was not run."
    ahead, error = [each - mean(alone) for each in taught], standard_error(alone)
    text = f'The teacher has {from_to(taught)}, the student alone {mean(alone):.1f}'
    if ahead[0] > 0:
        text += f': a lead of {from_to(ahead)} points' + (f' (± {error:.1f})' if error is not None else '')
    if ahead[0] < max(1.0, 2 * (error or 0)):
        hardly = 'hardly' if ahead[0] > 0 else 'not'
        return text + f'. **The teacher is {hardly} ahead, so these rows show little of distillation.**'
    return f'{text}.'


def scores_had(arena: Arena, results: Sequence[dict]) -> dict[str, list[int]]:
    """The teachers' figures that a row's logs tell, as they are printed, and the seeds that had each."""
    seeds: dict[str, list[int]] = {}
    for result in results:
        had = re.search(rf'{re.escape(arena.metric)} ([\d.]+)', result.get('teacher_score', ''))
        if had and result['state'] == FINISHED:
            seeds.setdefault(f'{arena.factor * float(had[1]):.1f}', []).append(result['seed'])
    return seeds


def trained_again(arena: Arena, students: Students, found: Mapping[str, dict]) -> str:
    """A sentence about students whose teacher was trained again, on another machine, and came out otherwise.

    Args:
        arena: Theirs.
        students: Of a table.
        found: All results by name.
    """
    others: dict[str, list[str]] = {}  # the rows by their teacher's figure
    for row, results in students:
        teacher = Training(arena, row, 0).teacher
        recorded = found.get(teacher.name, {}).get('last') if teacher else None
        if recorded is None:
            continue
        seeds = scores_had(arena, results)
        seeds.pop(f'{arena.factor * recorded:.1f}', None)
        for figure, numbers in seeds.items():
            plural = 's' if len(numbers) > 1 else ''
            others.setdefault(figure, []).append(f'{row.title} (seed{plural} {", ".join(map(str, numbers))})')
    told = [f'{figure} for {"; ".join(titles)}' for figure, titles in others.items()]
    return f'The teacher was trained again on another machine and had {", and ".join(told)}.' if told else ''


def standard_error(values: Sequence[float]) -> float | None:
    """Of their mean; unknown of a single one."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def from_to(values: Sequence[float]) -> str:
    """The first and the last of them, or what both are."""
    lowest, highest = f'{values[0]:.1f}', f'{values[-1]:.1f}'
    return lowest if lowest == highest else f'{lowest} to {highest}'
