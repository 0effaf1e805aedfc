"""What the methods gain over the student alone, arena by arena: README's table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arena import read_arena
from files import write_between
from page import spread
from results import CPU, FINISHED, Results

METHODS = {  # as they are called in README
    'alone': 'Student alone',
    'kd': 'KD',
    'mhkd': 'MHKD',
    'featurekd': 'FeatureKD',
    'sskd': 'SSKD',
    'nolabels': 'SSKD, no labels',
}
BEGIN, END = '<!-- gains: written by make results -->', '<!-- gains: end -->'


@dataclass
class Gains:
    """The figures of an arena.

    Args:
        title: Its name.
        unit: What is measured.
        scores: Of the seeds, by method and of the ``'teacher'``.
    """

    title: str
    unit: str
    scores: dict[str, list[float]]


def gains_of(results: Path) -> list[Gains]:
    """What was trained on a CPU in the arenas that README shows."""
    return [
        _gains('bccd', 'Blood cells', 'box AP', results, '{}', alone='alone24'),
        _gains('digits', 'Digits, 5 labels a class', 'top-1 %', results, '{}5', nolabels='nolabels', **soft('{}5')),
        _gains('olivetti', 'Faces, 2 photos a person', 'accuracy %', results, '{}2', **soft('{}2')),
        _gains(
            'cifar10_pretrained',
            'CIFAR-10, 50 labels a class',
            'top-1 %',
            results,
            '{}50',
            teacher='few-teacher',
            **soft('{}50'),
        ),
        _gains('cifar100_short', 'CIFAR-100, 20 classes', 'top-1 %', results, '{}'),
    ]


def soft(name: str) -> dict[str, str]:
    """The rows of those that learn classes from images without labels by soft targets only."""
    return {'featurekd': name.format('featurekd-soft'), 'sskd': name.format('less-soft')}


def _gains(arena_name: str, title: str, unit: str, results: Path, name: str, **others: str) -> Gains:
    """The figures of an arena whose rows are called so, but for others."""
    keys = {'teacher': 'teacher', **{key: name.format(key) for key in METHODS}, **others}
    arena = read_arena(arena_name)
    scores: dict[str, list[float]] = {}
    for result in Results(results / CPU / f'{arena_name}.jsonl').read().values():
        for key in keys:
            if result['name'].rpartition('_s')[0] == keys[key] and result['state'] == FINISHED:
                scores.setdefault(key, []).append(arena.factor * result['last'])
    return Gains(title, unit, scores)


def write_table(gains: Sequence[Gains], page: Path) -> None:
    """Put the table into a page, between the marks."""
    lines = [f'| | {" | ".join(f"{each.title}, {each.unit}" for each in gains)} |', '|---' * (len(gains) + 1) + '|']
    for key, method in {'teacher': 'Teacher', **METHODS}.items():
        cells = [spread(each.scores[key]) if key in each.scores else 'not run' for each in gains]
        lines.append(f'| {method} | {" | ".join(cells)} |')
    write_between(page, BEGIN, END, lines)
