"""Which students of a table had another teacher than its teacher row."""

import re
from collections.abc import Mapping, Sequence

from arena import Arena, Row
from training import FINISHED


def trained_again(arena: Arena, rows: Sequence[Row], found: Mapping[str, dict]) -> str:
    """A sentence about students whose teacher was trained again, on another machine, and came out otherwise."""
    others: dict[str, list[str]] = {}  # the rows by their teacher's figure
    for row in (row for row in rows if row.teacher):
        first = (arena.rows[row.teacher].seeds or arena.seeds)[0]
        recorded = (found.get(f'{row.teacher}_s{first}') or {}).get('last')
        seeds: dict[str, list[int]] = {}
        for result in sorted(found.values(), key=lambda result: result['seed']):
            had = re.search(rf'{re.escape(arena.metric)} ([\d.]+)', result.get('teacher_score', ''))
            is_own = result['name'].rpartition('_s')[0] == row.key and result['state'] == FINISHED
            if is_own and had and recorded is not None:
                figure = f'{arena.factor * float(had[1]):.1f}'
                if figure != f'{arena.factor * recorded:.1f}':
                    seeds.setdefault(figure, []).append(result['seed'])
        for figure, numbers in seeds.items():
            seed = f'seed{"s" if len(numbers) > 1 else ""} {", ".join(map(str, numbers))}'
            others.setdefault(figure, []).append(f'{row.title} ({seed})')
    told = [f'{figure} for {"; ".join(titles)}' for figure, titles in others.items()]
    return f'The teacher was trained again on another machine and had {", and ".join(told)}.' if told else ''
