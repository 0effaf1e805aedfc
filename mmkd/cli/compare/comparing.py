"""Compares candidates: evaluates one after the other, and puts the figures side by side."""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mmkd.cli.compare.candidates import Candidate
from mmkd.cli.compare.comparable import check_comparable, refuse
from mmkd.cli.compare.comparison import Column, Comparison
from mmkd.cli.compare.evaluation import Predictions, Result, evaluate
from mmkd.errors import UserError
from mmkd.evaluation.calibration import BINS, calibration_error
from mmkd.version import __version__

COSTS = [
    Column('parameters', 'params', lambda count: _short(count)),
    Column('flops', 'FLOPs', lambda flops: _short(flops)),
    Column('images_per_second', 'images/s', lambda rate: f'{rate:,.0f}' if rate >= 100 else f'{rate:.3g}'),
    Column('memory_bytes', 'memory', lambda size: f'{size / 2**20:,.1f} MiB'),
]
OF_CLASSIFIERS = [
    Column('agreement', 'agrees', '{:.1f} %'.format),
    Column('calibration_error', 'ECE', '{:.1f} %'.format),
]


def compare(
    candidates: Sequence[Candidate], split: str = 'test', device: str = 'cpu', batch_size: int | None = None
) -> Comparison:
    """Evaluate and measure all of them; an error where two cannot be compared.

    Args:
        candidates: The first is the one that the others are compared with.
        split: Whose data and evaluator count.
        device: Where they run.
        batch_size: Images at once, for time and memory, of all of them.
    """
    first, *others = candidates
    for other in others:
        check_comparable(first, other, split)
    batch_size = batch_size or first.cfg.test_dataloader.get('batch_size', 1)
    results: list[Result] = []
    with TemporaryDirectory() as folder:
        for place, one in enumerate(candidates, 1):
            print(f'{place} of {len(candidates)}: {one.name}', file=sys.stderr, flush=True)
            try:
                with _quiet():
                    results.append(evaluate(one, folder, device, batch_size))
            except UserError as error:
                said = re.sub('^test_', f'{split}_', str(error))  # they are among the keys of testing
                raise UserError(f'{one.name}: {said}') from error
            if place > 1:
                _check_results(first, one, results[0], results[-1], split)
    rows = [_row(one, result, results[0]) for one, result in zip(candidates, results)]
    metrics = [key for key in results[0].metrics if all(key in result.metrics for result in results)]
    if not metrics:
        keys = [', '.join(result.metrics) or 'nothing' for result in results]
        at = next(place for place, result in enumerate(results) if not results[0].metrics.keys() & result.metrics)
        refuse(first, candidates[at], f'{split}_evaluator', keys[0], keys[at], 'give both the same metric.')
    columns = [Column(key, key.rpartition('/')[-1] if _is_clear(key, metrics) else key) for key in metrics]
    measured = [column for column in OF_CLASSIFIERS if any(row[column.key] is not None for row in rows)]
    about = dict(
        split=split,
        images=results[0].images,
        device=device,
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        torch=torch.__version__,
        mmkd=__version__,
    )
    return Comparison(rows, [*columns, *COSTS, *measured], about, _notes(about, measured, first.name, results))


@contextmanager
def _quiet() -> Iterator[None]:
    """The toolboxes print, log and warn of each file that they load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


def _check_results(first: Candidate, other: Candidate, ours: Result, theirs: Result, split: str) -> None:
    """What shows only when data and networks are built: classes, and which images there are."""
    key, cure = f'{split}_dataloader.dataset', 'compare networks of the same classes and data.'
    if ours.classes != theirs.classes:
        differing = next((f', beginning with {a!r}' for a, b in zip(ours.classes, theirs.classes) if a != b), '')
        raise UserError(
            f'{first.name} and {other.name} cannot be compared: the classes of {key} ({len(ours.classes)} and '
            f'{len(theirs.classes)}) are not the same{differing}; {cure}'
        )
    if ours.num_classes != theirs.num_classes:
        refuse(first, other, 'num_classes', ours.num_classes, theirs.num_classes, cure)
    if ours.images != theirs.images:
        refuse(first, other, f'the length of {key}', ours.images, theirs.images, cure)
    both = ours.predictions, theirs.predictions
    if all(both) and not torch.equal(*(one.labels for one in both if one)):
        raise UserError(
            f'{first.name} and {other.name} cannot be compared: the labels of {key} are not the same, or their images '
            f'come in another order; set {split}_dataloader.sampler.shuffle=False, and name the same data.'
        )


def _row(one: Candidate, result: Result, first: Result) -> dict[str, Any]:
    mine = result.predictions
    return dict(
        name=one.name,
        config=one.config,
        checkpoint=one.checkpoint,
        **result.metrics,
        parameters=result.parameters,
        flops=result.flops,
        images_per_second=result.speed,
        memory_bytes=result.memory,
        agreement=_agreement(mine, first.predictions) if mine and first.predictions else None,
        calibration_error=calibration_error(mine.scores, mine.labels) if mine else None,
    )


def _agreement(one: Predictions, other: Predictions) -> float:
    """How many of the images have the same most likely class, in percent."""
    return 100 * float((one.scores.argmax(1) == other.scores.argmax(1)).double().mean())


def _is_clear(key: str, keys: Sequence[str]) -> bool:
    """Whether a metric is clear without its prefix."""
    last = key.rpartition('/')[-1]
    return [other.rpartition('/')[-1] for other in keys].count(last) == 1


def _notes(about: dict, measured: list[Column], first: str, results: list[Result]) -> list[str]:
    threads = f', {about["threads"]} thread{"s" * (about["threads"] > 1)}' if about['device'] == 'cpu' else ''
    notes = [
        f'{about["images"]:,} images of {about["split"]}; images/s and memory (weights included) of the prediction of '
        f'{about["batch_size"]} images at once on {about["device"]}{threads}, without loading.'
    ]
    if measured:
        notes.append(f'Agrees: the same class as {first}. ECE: expected calibration error, {BINS} bins.')
    if any(result.flops is None for result in results):
        notes.append("FLOPs: a dash where mmengine's analysis cannot trace the network.")
    return notes


def _short(count: float) -> str:
    for size, unit in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M')):
        if count >= size:
            return f'{count / size:,.2f} {unit}'
    return f'{count:,.0f}'
