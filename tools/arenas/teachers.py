"""Which students of a table had another teacher than its teacher row."""

import re
from collections.abc import Mapping, Sequence

from arena import Arena, Row, Training
from training import FINISHED


def trained_again(arena: Arena, students: Sequence[tuple[Row, Sequence[dict]]], found: Mapping[str, dict]) -> str:
    """A sentence about students whose teacher was trained again, on another machine, and came out otherwise.

    Args:
        arena: Theirs.
        students: Rows, and the results of each by seed.
        found: All results by name.
    """
    others: dict[str, list[str]] = {}  # the rows by their teacher's figure
    for row, results in students:
        teacher = Training(arena, row, 0).teacher
        recorded = found.get(teacher.name, {}).get('last') if teacher else None
        if recorded is None:
            continue
        seeds: dict[str, list[int]] = {}
        for result in results:
            had = re.search(rf'{re.escape(arena.metric)} ([\d.]+)', result.get('teacher_score', ''))
            if had and result['state'] == FINISHED:
                seeds.setdefault(f'{arena.factor * float(had[1]):.1f}', []).append(result['seed'])
        seeds.pop(f'{arena.factor * recorded:.1f}', None)
        for figure, numbers in seeds.items():
            plural = 's' if len(numbers) > 1 else ''
            others.setdefault(figure, []).append(f'{row.title} (seed{plural} {", ".join(map(str, numbers))})')
    told = [f'{figure} for {"; ".join(titles)}' for figure, titles in others.items()]
    return f'The teacher was trained again on another machine and had {", and ".join(told)}.' if told else ''
