"""Whether two candidates can be compared: by their configs, before anything is built."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmkd.cli.compare.candidates import Candidate
from mmkd.errors import UserError
from mmkd.utils.signatures import bare_name

LOADING = {'pipeline', 'backend_args', 'lazy_init', 'max_refetch', 'serialize_data', 'test_mode', 'return_classes'}
"""Options of a data set that change how its images are read and shown to a network, and not which they are."""
REPORTING = {
    'topk', 'thrs', 'items', 'metric', 'metric_items', 'classwise', 'proposal_nums', 'outfile_prefix', 'format_only',
    'collect_device', 'collect_dir', 'backend_args', 'sort_categories', 'use_mp_eval', 'print_log',
}  # fmt: skip
"""Options of a metric that change which of its figures there are, and not what is in one of a name."""


def check_comparable(first: Candidate, other: Candidate, split: str) -> None:
    """Raise an error that names both and the key that differs."""
    cure = f'compare networks with the same {split} data and metric, in a call for each.'
    ours, theirs = ({**_data(one, split), **_metrics(one, split)} for one in (first, other))
    for key in {**ours, **theirs}:
        if ours.get(key) != theirs.get(key):
            refuse(first, other, key, _told(ours.get(key)), _told(theirs.get(key)), cure)


def refuse(first: Candidate, other: Candidate, key: str, ours: Any, theirs: Any, cure: str) -> None:
    """Raise the error."""
    raise UserError(
        f'{first.name} and {other.name} cannot be compared: {key} is {ours} for the one and {theirs} for the other; '
        f'{cure}'
    )


def _data(one: Candidate, split: str) -> dict[str, Any]:
    place = f'{split}_dataloader.dataset'
    return {f'{place}.{key}': value for key, value in _images(one.cfg.test_dataloader.dataset)}


def _images(dataset: dict) -> Iterator[tuple[str, Any]]:
    """What decides which images there are, with paths made whole."""
    root = str(dataset.get('data_root') or '')
    files = 'ann_file', 'data_prefix'
    for key, value in dataset.items():
        if key in LOADING or (key == 'data_root' and any(dataset.get(file) for file in files)):
            continue
        if key == 'type':
            yield key, _kind(value)
        elif key == 'dataset':
            yield from ((f'{key}.{inner}', part) for inner, part in _images(value))
        elif key == 'datasets':
            joined = ((place, pair) for place, one in enumerate(value) for pair in _images(one))
            yield from ((f'{key}.{place}.{inner}', part) for place, (inner, part) in joined)
        elif key == 'data_root':
            yield key, _whole('', value)
        elif key in files:
            parts = value.items() if isinstance(value, dict) else [('', value)]
            yield from ((f'{key}.{name}'.rstrip('.'), _whole(root, part)) for name, part in parts if part or name)
        elif value is not None and key != 'metainfo':  # whose classes are compared when the data sets are built
            yield key, value


def _metrics(one: Candidate, split: str) -> dict[str, Any]:
    """What decides the figures."""
    found, evaluator = {}, one.cfg.test_evaluator
    for place, metric in enumerate(evaluator if isinstance(evaluator, list | tuple) else [evaluator]):
        prefix = f'{split}_evaluator.{place}.' if place else f'{split}_evaluator.'  # a list of one is the metric itself
        for key, value in metric.items():
            if key == 'type':
                found[f'{prefix}{key}'] = _kind(value)
            elif key not in REPORTING and value is not None:
                found[f'{prefix}{key}'] = _whole('', value) if key.endswith('ann_file') else value
    return found


def _kind(value: Any) -> str:
    """A class by its name, without the toolbox; lazy configs hold the class itself."""
    name = bare_name(value)
    return name.removeprefix('Resident')  # the same images, held on the device


def _whole(root: str, path: Any) -> str:
    if not isinstance(path, str) or '://' in root + path:
        return f'{root}{path}'
    return str(Path(root, path).expanduser().resolve())


def _told(value: Any) -> str:
    said = 'not given' if value is None else repr(value)
    return said if len(said) <= 80 else f'{said[:77]}...'
