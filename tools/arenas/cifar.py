"""CIFAR-100 for arenas: smaller images, fewer classes, and the images kept on the device."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from arena import Row, Table
from methods import FEWER_WITH_FEW_LABELS, rows
from needed_data import require

DATA = Path('data/cifar100.npz')
LOADERS = 'train_dataloader', 'val_dataloader', 'test_dataloader'
RESIDENT: dict[str, object] = {  # the images stay on the device
    f'{loader}.{key}': value
    for loader in LOADERS
    for key, value in {
        'dataset.type': 'mmkd.ResidentArrayDataset',
        'num_workers': 0,
        'persistent_workers': False,
        'pin_memory': False,
    }.items()
}
FEW = '50 labels a class, the other images without; about as many iterations as with all labels'


def options(epochs: int, side: int, classes: int, data: Path) -> dict[str, object]:
    """What makes a config for CIFAR-100 one for such images, with the rate cut at the same parts of the run."""
    changes: dict[str, object] = {
        **RESIDENT,
        **length(epochs),
        'train_dataloader.dataset.pipeline.0.crop_size': side,
        'train_dataloader.dataset.pipeline.0.padding': side // 8,
        'data_preprocessor.num_classes': classes,
        'student.head.num_classes': classes,
        'default_hooks.logger.interval': 150,
        'default_hooks.checkpoint.interval': 5,
    }
    for loader in LOADERS:
        changes[f'{loader}.dataset.ann_file'] = str(data)
    return changes


def length(epochs: int) -> dict[str, object]:
    """The epochs, and where the rate is cut: at 150, 180 and 210 of 240."""
    milestones = [round(epochs * part) for part in (150 / 240, 180 / 240, 210 / 240)]
    return {'train_cfg.max_epochs': epochs, 'param_scheduler.milestones': milestones}


def pair_table(
    pair: str, keys: Iterable[str], heading: str = '', changes: Mapping[str, Mapping[str, object]] | None = None
) -> Table:
    """A teacher, the student alone, and methods, SSKD before MHKD the last of them, by the usual protocol's configs.

    Args:
        pair: The teacher's name and the student's, as in the configs'.
        keys: Of the other methods.
        heading: Behind what the pair is.
        changes: As of :func:`methods.rows`; MHKD's are those of SSKD before MHKD, too.
    """
    taught, learning = pair.split('_')
    teacher = Row(f'{pair}_teacher', 'Teacher', f'baselines/{taught}_cifar100', seeds=(0,), teacher=None)
    alone = Row(f'{pair}_alone', 'Student alone', f'baselines/{learning}_cifar100', teacher=None)
    both = Row(
        f'{pair}_sskd-mhkd',
        'SSKD, then MHKD',
        f'mhkd/sskd-mhkd_{pair}_cifar100',
        (changes or {}).get('mhkd', {}),
        teacher=teacher.key,
    )
    methods = rows(f'kd/kd_{pair}_cifar100', keys, None, changes, f'{pair}_{{}}', teacher=teacher.key)
    return Table(f'{taught} teaches {learning}{heading}', [teacher, alone, *methods, both], alone.key)


def few_labels_table(
    pair: str,
    teacher: Row,
    images: Mapping[str, object],
    name: str,
    heading: str = FEW,
    longer: Mapping[str, object] | None = None,
    changes: Mapping[str, Mapping[str, object]] | None = None,
    keys: Iterable[str] = FEWER_WITH_FEW_LABELS,
) -> Table:
    """Methods with 50 labels a class, and the student alone, which has no use for the other images.

    Args:
        pair: The teacher's name and the student's, as in the configs'.
        teacher: It has learned from all labels.
        images: Those without labels, of :func:`unlabelled`.
        name: What the rows' keys become.
        heading: Of the table.
        longer: The length, where it is not the configs'.
        changes: As of :func:`methods.rows`.
        keys: Of the methods.
    """
    longer = longer or {}
    learning = pair.split('_')[1]
    alone = Row(name.format('alone'), 'Student alone', f'baselines/{learning}_cifar100-50-labels', longer, teacher=None)
    options = {**longer, **images}
    methods = rows(f'kd/kd_{pair}_cifar100-50-labels', keys, options, changes, name, teacher=teacher.key)
    return Table(heading, [teacher, alone, *methods], alone.key)


def unlabelled(side: int, data: Path) -> dict[str, object]:
    """The images without labels, in a config that has some."""
    key = 'unlabelled_dataloader'
    return {
        f'{key}.dataset.type': 'mmkd.ResidentArrayDataset',
        f'{key}.dataset.ann_file': str(data),
        f'{key}.dataset.pipeline.0.crop_size': side,
        f'{key}.dataset.pipeline.0.padding': side // 8,
        f'{key}.num_workers': 0,
    }


def maker(data: Path, side: int, classes: int = 100) -> Callable[[], None]:
    """A function that makes the arena's own data file, unless it is there."""

    def make() -> None:
        if data.is_file():
            return
        require(str(DATA))
        with np.load(DATA, allow_pickle=False) as arrays:
            reduced = reduce(dict(arrays), classes, side)
        part = data.with_name(f'.{os.getpid()}.npz')
        np.savez(part, **reduced)
        os.replace(part, data)

    return make


def reduce(arrays: dict[str, np.ndarray], classes: int, side: int) -> dict[str, np.ndarray]:
    """The images of the first classes, each square of pixels averaged to one."""
    reduced = {}
    for split in ('train', 'test'):
        chosen = arrays[f'{split}_y'] < classes
        images = arrays[f'{split}_x'][chosen]
        n, height, width, channels = images.shape
        squares = images.reshape(n, side, height // side, side, width // side, channels)
        reduced[f'{split}_x'] = np.round(squares.mean((2, 4))).astype(np.uint8)
        reduced[f'{split}_y'] = arrays[f'{split}_y'][chosen]
    return reduced
