"""Checks before training that labels, class names and heads agree."""

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.tasks import kind_of


def check_classes(distiller: Distiller, dataset: Any) -> None:
    """Raise an error if the teacher's classes have other names or another order than the student's."""
    differing = _differing(_names(dataset), distiller.teacher.classes)
    if distiller.compares_scores and differing:
        ours, its = differing[0]
        raise UserError(
            'model.teacher: its checkpoint was trained for other classes than train_dataloader.dataset has, or in '
            f'another order ({its!r} where the student has {ours!r}; {len(differing)} differ), so their scores cannot '
            'be compared; take a teacher of the same classes, or mmkd.SSKD without alpha, which compares features.'
        )


def check_validation_classes(train: Any, val: Any) -> None:
    """Raise an error for a validation set with other classes or another order, as after a missing class folder.

    Equally many names with none in common are accepted: they may be translations.
    """
    ours, theirs = _names(train), _names(val)
    differing = _differing(ours, theirs)
    if differing and (set(ours) & set(theirs) or len(ours) != len(theirs)):
        raise UserError(
            f'val_dataloader.dataset: its classes are not those of train_dataloader.dataset, or in another order '
            f'({differing[0][1]!r} where the training has {differing[0][0]!r}; {len(differing)} differ), so the same '
            'label means different classes; give both the same folders of classes, empty ones too, or the same '
            'metainfo=dict(classes=...).'
        )


def check_labels(student: nn.Module, datasets: dict[str, Any]) -> None:
    """Raise an error for labels that the student's head has no score for; no image is loaded.

    Args:
        student: Has the head.
        datasets: By their data loader's key.
    """
    task = kind_of(student)
    known = task.num_classes(student) if task else None
    if known is None:
        return
    for key, dataset in datasets.items():
        try:
            labels = {label for part in _parts(dataset) for label in _labels(part)}
        except Exception as error:  # data sets may raise anything here
            said = f'{key}.dataset cannot list its labels without loading images ({type(error).__name__})'
            print_log(f'{said}: only the first sample was checked.', logger='current', level=logging.WARNING)
            continue
        strange = sorted(label for label in labels if not 0 <= label < known)
        if strange:
            names = _names(dataset)
            name = f' ({names[strange[-1]]})' if 0 <= strange[-1] < len(names) else ''
            more = f'set its num_classes to {max(len(names), strange[-1] + 1)}, or ' if strange[-1] > 0 else ''
            raise UserError(
                f"{key}.dataset: it has the label {strange[-1]}{name}, and the student's head knows {known} classes, "
                f'0 to {known - 1}; {more}fix the labels.'
            )


def _labels(dataset: Any) -> Iterator[int]:
    return chain.from_iterable(dataset.get_cat_ids(i) for i in range(len(dataset)))


def _parts(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers."""
    if hasattr(dataset, 'dataset'):
        yield from _parts(dataset.dataset)
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _parts(part)
    else:
        yield dataset


def _names(dataset: Any) -> tuple[str, ...]:
    names = getattr(dataset, 'metainfo', {}).get('classes')
    return tuple(names) if isinstance(names, list | tuple) else ()


def _differing(ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[tuple[str, str]]:
    """The pairs of different names at one place; one list may be longer."""
    return [(a, b) for a, b in zip(ours, theirs) if a != b]
