"""What the arenas of verification share: the metrics, and images that no other process loads."""

from collections.abc import Callable, Sequence
from pathlib import Path

from arena import Arena, Row, Table
from methods import rows

from mmkd.errors import UserError

METHODS = 'kd', 'mhkd', 'featurekd', 'sskd', 'paper'


def arena(
    title: str, text: str, data: str, pair: tuple[str, str], seeds: Sequence[int], needs: Sequence[str] = ()
) -> Arena:
    """Every method on one pair of networks.

    Args:
        title: Heading on the page.
        text: The protocol, in words.
        data: As in the names of the configs.
        pair: Teacher and student, as in the names of the configs.
        seeds: Of the students.
        needs: Files that must be there besides the data.
    """
    teacher, student = pair
    options: dict[str, object] = {'default_hooks.checkpoint.interval': 5, 'default_hooks.checkpoint.max_keep_ckpts': 1}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options |= {f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
    compared = [
        Row('teacher', 'Teacher', f'baselines/{teacher}_{data}', seeds=(0,), teacher=None),
        Row('alone', 'Student alone', f'baselines/{student}_{data}', teacher=None),
        *rows(f'sskd/sskd_{teacher}_{student}_{data}', METHODS),
    ]
    return Arena(
        title,
        text,
        [Table('', compared)],
        metric='face/accuracy',
        also={'face/TAR@FAR=0.01': 'TAR at FAR 0.01'},
        options=options,
        seeds=seeds,
        prepare=_maker([f'data/{data.replace("-", "_")}/train.txt', *needs]),
    )


def _maker(paths: Sequence[str]) -> Callable[[], None]:
    def prepare() -> None:
        for path in map(Path, paths):
            if not path.is_file():
                raise UserError(f'{path} does not exist; docs/faces.md, "A small run", says how to get it.')

    return prepare
