"""Checks that the data of a config exist and are complete, before anything is built or written."""

import inspect
import zipfile
from collections.abc import Iterator
from os.path import expanduser
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.registry import DATASETS
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.errors import UserError, in_one_line
from mmkd.utils.signatures import bare_name

MOST_WORKERS = 1024  # torch has no limit, and too many freeze the machine


def check_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check that the files and folders of the data sets exist and are complete."""
    for name in loaders:
        loader = cfg.get(name)
        if loader is not None:
            if not isinstance(loader, dict):
                raise UserError(f'{name}: it must be a dict, not {loader!r}.')
            _check_number(f'{name}.batch_size', 'images', loader.get('batch_size', 1), least=1)
            _check_number(f'{name}.num_workers', 'processes', loader.get('num_workers', 0), least=0)
            if loader.get('num_workers', 0) > MOST_WORKERS:
                raise UserError(f'{name}.num_workers: no machine can run so many processes; use 2 to 16.')
            for key, part in dict(dataset=loader.get('dataset'), sampler=loader.get('sampler', {})).items():
                if not isinstance(part, dict):
                    raise UserError(f'{name}.{key}: it must be a dict, not {part!r}.')
            if loader.get('pin_memory') and is_resident(loader) and get_device() != 'cpu':
                raise UserError(
                    f'{name}.pin_memory: the images of ResidentArrayDataset are on the device, and only what is in the '
                    "host's memory can be pinned; set it to False or leave it out."
                )
            for key, dataset in _datasets(f'{name}.dataset', loader.get('dataset')):
                try:
                    _check_dataset(key, dataset, cfg)
                except (OSError, ValueError) as error:  # the name is too long or contains NUL, or permission is denied
                    raise UserError(
                        f'{key}: its data_root, data_prefix or ann_file cannot be read ({in_one_line(error)}); '
                        'fix the path, or the permissions of the folder.'
                    ) from error


def is_resident(loader: dict) -> bool:
    """Whether a loader's batches are already on the device."""
    kinds = [dataset.get('type') for _, dataset in _datasets('', loader.get('dataset'))]
    return any(bare_name(kind) == 'ResidentArrayDataset' for kind in kinds)


def check_images(runner: Runner, *splits: str) -> None:
    """Check that the data sets of these splits are not empty. This builds them, and the run reuses them."""
    for split in splits:
        try:
            loop = getattr(runner, f'{split}_loop')
            empty = loop is not None and not len(loop.dataloader.dataset)
        except ValueError as error:
            if 'need at least one array to concatenate' not in str(error):  # mmengine's error for an empty data set
                raise
            empty = True
        if empty:
            raise UserError(
                f'{split}_dataloader.dataset: it holds no image, or filter_cfg leaves none; check that '
                'metainfo.classes names classes of ann_file as they are spelled there, that images of theirs have '
                "boxes, and 'indices'."
            )
        if isinstance(loop, EpochBasedTrainLoop) and not len(loop.dataloader):
            raise UserError(
                f'train_dataloader.batch_size: the {len(loop.dataloader.dataset)} images do not fill one batch of '
                f'{loop.dataloader.batch_size}, and drop_last drops incomplete batches; use a smaller one, or '
                'drop_last=False.'
            )


def _datasets(key: str, dataset) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers, with their place in the config."""
    if not isinstance(dataset, dict):
        return
    if 'dataset' in dataset:
        yield from _datasets(f'{key}.dataset', dataset['dataset'])
    elif 'datasets' in dataset:
        for i, inner in enumerate(dataset['datasets']):
            yield from _datasets(f'{key}.datasets.{i}', inner)
    else:
        yield key, dataset


def _check_number(key: str, what: str, number, least: int) -> None:
    if not isinstance(number, int) or number < least:
        raise UserError(f'{key}: it must be a whole number of {what}, {least} or more, not {number!r}.')


def _check_dataset(key: str, dataset: dict, cfg: Config) -> None:
    kind = _kind(dataset, cfg)
    if isinstance(kind, type) and not issubclass(kind, BaseDataset):  # its arguments may mean anything
        return
    if dataset.get('backend_args') or _downloads(kind, dataset):
        return
    prefixes = dataset.get('data_prefix') or {}
    named = prefixes if isinstance(prefixes, dict) else {'': prefixes}
    keys = {f'{key}.data_prefix{"." * bool(name)}{name}': prefix for name, prefix in named.items()}
    folders = {name: _path(name, prefix) for name, prefix in keys.items()}
    above, file = (_path(f'{key}.{name}', dataset.get(name)) for name in ('data_root', 'ann_file'))
    if any('://' in path for path in (above, file, *folders.values())):
        return
    root = Path(above)
    how = getattr(kind, 'HOW_TO_GET', 'prepare the data')
    cure = f'{how} or set {key}.data_root to where it is (relative to {Path.cwd()}).'
    if not root.is_dir():
        raise UserError(f'{key}.data_root: folder {root} does not exist; {cure}')
    for name, prefix in folders.items():
        folder = root / prefix
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            state = 'is empty' if folder.exists() else 'does not exist'
            raise UserError(f'{name}: folder {folder} {state}; {cure}')
    if file:
        _check_annotations(f'{key}.ann_file', root / file, cure)


def _path(key: str, path: Any) -> str:
    """The value if it is a path, as data sets read it; '' for None."""
    if path is not None and not isinstance(path, str | Path):
        raise UserError(f'{key}: it must be a path, not {path!r}.')
    return expanduser(path or '')


def _check_annotations(key: str, file: Path, cure: str) -> None:
    if not file.is_file():
        raise UserError(f'{key}: {file} does not exist; {cure}')
    if file.suffix == '.json':  # parsing COCO takes half a minute; a broken download shows at the file's end
        with file.open('rb') as stream:
            stream.seek(max(0, file.stat().st_size - 16))
            whole = stream.read().rstrip()[-1:] in (b'}', b']')
    else:
        whole = file.suffix != '.npz' or zipfile.is_zipfile(file)
    if not whole:
        raise UserError(f'{key}: {file} is cut off or no {file.suffix[1:]} file; get it again.')


def _kind(dataset: dict, cfg: Config) -> Any:
    """The class of the data set."""
    kind = dataset.get('type')
    if isinstance(kind, str) and kind:
        with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            kind = registry.get(kind)
    return kind


def _downloads(kind: Any, dataset: dict) -> bool:
    """Whether the class of the data set downloads missing files itself, as mmpretrain's CIFAR does."""
    return callable(kind) and 'download' in inspect.signature(kind).parameters and dataset.get('download', True)
