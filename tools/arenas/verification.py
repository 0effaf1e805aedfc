"""What the arenas of verification share: the metrics, the methods, and images that no other process loads."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arena import IN_ONE_PROCESS, Arena, Row, Table
from needed_data import require


def teacher(config: str) -> Row:
    """The one that all students have."""
    return Row('teacher', 'Teacher', f'baselines/{config}', seeds=(0,), teacher=None)


def alone(config: str, key: str = 'alone') -> Row:
    """The student alone."""
    return Row(key, 'Student alone', f'baselines/{config}', teacher=None)


def arena(title: str, text: str, data: Path, tables: Sequence[Table], seeds: Sequence[int]) -> Arena:
    """An arena whose figure is the accuracy of pairs of people never seen.

    Args:
        title: Heading on the page.
        text: The protocol, in words.
        data: What the converter writes.
        tables: What is compared.
        seeds: Of the students.
    """
    return Arena(
        title,
        text,
        tables,
        metric='face/accuracy',
        also={'face/TAR@FAR=0.01': 'TAR at FAR 0.01'},
        options={
            **IN_ONE_PROCESS,
            'default_hooks.checkpoint.interval': 5,
            'default_hooks.checkpoint.max_keep_ckpts': 1,
        },
        seeds=seeds,
        prepare=partial(require, str(data / 'train.txt')),
    )
