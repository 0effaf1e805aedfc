"""Expected mistakes, found in a config before anything is built or written."""

import inspect
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mmkd.configs import find_config
from mmkd.errors import UserError, did_you_mean

TRAINING_KEYS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
TESTING_KEYS = ('model', 'test_dataloader', 'test_cfg', 'test_evaluator')
TOOLBOXES = {'mmpretrain': 'onedl-cls', 'mmdet': 'onedl-det'}  # and the extra that brings it

MOST_WORKERS = 1024  # torch starts as many as it is told, until the machine stands still


def check_keys(cfg: Config, needed: tuple[str, ...], task: str) -> None:
    """Every key that the task needs is there."""
    missing = [key for key in needed if cfg.get(key) is None]
    if missing:
        hint = did_you_mean(missing[0], set(cfg.keys()) - set(needed))
        raise UserError(
            f'config {cfg.filename}: {task} needs {", ".join(needed)}, '
            f'but {" and ".join(missing)} {"is" if len(missing) == 1 else "are"} missing.{hint} '
            'Inherit them with _base_ or define them.'
        )
    for key in needed:
        if not isinstance(cfg[key], dict | list if key == 'test_evaluator' else dict):
            raise UserError(f'{key}: it must be a dict, not {cfg[key]!r}.')


def check_training(cfg: Config) -> None:
    """What a config asks for is there, and can be had on this machine."""
    check_toolboxes(cfg)
    check_amp(cfg)
    check_budget(cfg)
    check_optimizer(cfg)
    check_teacher(cfg)
    check_data_parallel(cfg)
    check_compile(cfg)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))


def check_toolboxes(cfg: Config) -> None:
    """Every toolbox that the config uses is installed; the others are not looked for."""
    scope = cfg.get('default_scope')
    if not isinstance(scope, str | None) or scope == '':
        raise UserError(f"default_scope: it must be the name of a toolbox, such as 'mmpretrain', not {scope!r}.")
    scopes = {scope, *_scopes(cfg.to_dict())}
    for toolbox, extra in TOOLBOXES.items():
        if toolbox in scopes and find_spec(toolbox) is None:
            raise UserError(
                f'config {cfg.filename} uses {toolbox}, which is not installed; run: pip install "mmkd[{extra}]"'
            )


def check_amp(cfg: Config) -> None:
    """Mixed precision has a device to run on."""
    kind = cfg.optim_wrapper.get('type', '')
    if str(getattr(kind, '__name__', kind)).rpartition('.')[-1] != 'AmpOptimWrapper':  # a class in lazy configs
        return
    if get_device() == 'cpu':
        raise UserError(
            'optim_wrapper.type: mixed precision (--amp) needs a GPU, and torch sees none; train without it, '
            'or check the driver with: python -c "import torch; print(torch.cuda.is_available())"'
        )
    if get_device() == 'cuda' and cfg.optim_wrapper.get('dtype') == 'bfloat16' and not torch.cuda.is_bf16_supported():
        raise UserError('optim_wrapper.dtype: this GPU knows no bfloat16; take --amp-dtype float16.')


def check_budget(cfg: Config) -> None:
    """There is something to do, and to score, now and then; else what is built first for it would be blamed."""
    if not isinstance(cfg.get('val_evaluator'), dict | list | None):
        raise UserError(f'val_evaluator: it must be a dict or a list of them, not {cfg.val_evaluator!r}.')
    for key in ('max_epochs', 'max_iters'):
        budget = cfg.train_cfg.get(key, 1)
        if isinstance(budget, int | float) and not budget > 0:
            raise UserError(f'train_cfg.{key}: it must be above 0, not {budget}.')
    interval = cfg.train_cfg.get('val_interval', 1)
    if not isinstance(interval, int | float) or not interval > 0:
        raise UserError(f'train_cfg.val_interval: it must be a number of epochs or iterations, not {interval!r}.')


def check_optimizer(cfg: Config) -> None:
    """A distiller's optimizer is one, of which each stage gets its own."""
    optimizer = cfg.optim_wrapper.get('optimizer')
    if 'student' in cfg.model and not isinstance(optimizer, dict):
        raise UserError(
            f"optim_wrapper.optimizer: it must be a dict such as dict(type='SGD', lr=0.1), not {optimizer!r}."
        )


def check_data_parallel(cfg: Config) -> None:
    """A distiller is wrapped anew in each stage, which only DDP can."""
    wrapper = dict(cfg.get('model_wrapper_cfg') or {}).get('type', '')
    key = ''
    if 'FullyShardedDataParallel' in str(getattr(wrapper, '__name__', wrapper)):  # a class in lazy configs
        key = 'model_wrapper_cfg'
    elif cfg.get('strategy') or cfg.get('runner_type') == 'FlexibleRunner':
        key = 'strategy' if cfg.get('strategy') else 'runner_type'
    if key and 'student' in cfg.model:
        raise UserError(
            f'{key}: distillation runs under plain DDP only so far, not under FSDP or other strategies; '
            f'leave {key} out.'
        )


def check_compile(cfg: Config) -> None:
    """An iteration of a distiller is not compiled as one piece: in it networks are left early and watched."""
    if cfg.get('compile') and 'student' in cfg.model:
        raise UserError(
            'compile: it makes one piece of an iteration, in which a distiller runs networks only as far as a stage; '
            'write model.compile=True instead, which compiles their parts.'
        )


def check_checkpoint(flag: str, path: str) -> None:
    """A local checkpoint exists and is not empty; URLs are left to mmengine."""
    if '://' in path:
        return
    file = Path(path).expanduser()
    if not file.is_file() or not file.stat().st_size:
        nearby = [str(other) for other in file.parent.glob('*.pth')] if file.parent.is_dir() else []
        raise UserError(
            f'{flag}: checkpoint {path} {"is empty" if file.is_file() else "does not exist"}.'
            f'{did_you_mean(path, nearby)}'
        )


def check_teacher(cfg: Config) -> None:
    """A distiller's teacher has a config and a checkpoint that are there, and its heads' file if it has one."""
    if isinstance(cfg.model.get('teacher_heads'), str):
        check_checkpoint('model.teacher_heads', cfg.model.teacher_heads)
    teacher = cfg.model.get('teacher')
    if not isinstance(teacher, dict):
        return
    config, checkpoint = teacher.get('config'), teacher.get('checkpoint')
    if isinstance(config, str):
        find_config(config)
    if isinstance(checkpoint, str):
        check_checkpoint('model.teacher.checkpoint', checkpoint)


def check_data(cfg: Config, loaders: tuple[str, ...]) -> None:
    """The files and folders that the data sets read are there and whole."""
    for name in loaders:
        loader = cfg.get(name)
        if loader is not None:
            if not isinstance(loader, dict):
                raise UserError(f'{name}: it must be a dict, not {loader!r}.')
            _check_number(f'{name}.batch_size', 'images', loader.get('batch_size', 1), least=1)
            _check_number(f'{name}.num_workers', 'processes', loader.get('num_workers', 0), least=0)
            if loader.get('num_workers', 0) > MOST_WORKERS:
                raise UserError(f'{name}.num_workers: so many processes are more than a machine can run; take 2 to 16.')
            for key, part in dict(dataset=loader.get('dataset'), sampler=loader.get('sampler', {})).items():
                if not isinstance(part, dict):
                    raise UserError(f'{name}.{key}: it must be a dict, not {part!r}.')
            for key, dataset in _datasets(f'{name}.dataset', loader.get('dataset')):
                _check_dataset(key, dataset, cfg)


def check_work_dir(work_dir: str) -> None:
    """The work dir can be made and written. The last check, since it makes the folder."""
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise UserError(
            f'work_dir: {work_dir} cannot be written ({error.strerror}); choose another with --work-dir.'
        ) from error


def check_images(runner: Runner) -> None:
    """The training set holds images. It is built by this, and the training takes it from the runner."""
    try:
        images = len(runner.train_dataloader.dataset)
    except ValueError as error:
        if 'need at least one array to concatenate' not in str(error):  # what mmengine makes of a set that is empty
            raise
        images = 0
    if not images:
        raise UserError(
            'train_dataloader.dataset: it holds no image, or filter_cfg leaves none; check that metainfo.classes names '
            "classes of ann_file as they are spelled there, that images of theirs have boxes, and 'indices'."
        )


def _scopes(node) -> Iterator[str]:
    """The scopes that a config names, in ``_scope_`` or before the dot of a ``type``."""
    if isinstance(node, dict):
        yield from (node[key].split('.')[0] for key in ('_scope_', 'type') if isinstance(node.get(key), str))
        node = node.values()
    if not isinstance(node, str) and isinstance(node, Iterable):
        for inner in node:
            yield from _scopes(inner)


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
    if dataset.get('backend_args') or _downloads(dataset, cfg):
        return
    root = Path(dataset.get('data_root') or '').expanduser()
    cure = f'prepare the data or set {key}.data_root to where it is (relative to {Path.cwd()}).'
    if not root.is_dir():
        raise UserError(f'{key}.data_root: folder {root} does not exist; {cure}')
    prefixes = dataset.get('data_prefix') or {}
    for name, prefix in prefixes.items() if isinstance(prefixes, dict) else [('', prefixes)]:
        folder = root / prefix
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            state = 'is empty' if folder.exists() else 'does not exist'
            raise UserError(f'{key}.data_prefix{"." * bool(name)}{name}: folder {folder} {state}; {cure}')
    if dataset.get('ann_file'):
        _check_annotations(f'{key}.ann_file', root / dataset['ann_file'], cure)


def _check_annotations(key: str, file: Path, cure: str) -> None:
    if not file.is_file():
        raise UserError(f'{key}: {file} does not exist; {cure}')
    if file.suffix == '.json':  # reading COCO's whole takes half a minute; a broken download shows at its end
        with file.open('rb') as stream:
            stream.seek(max(0, file.stat().st_size - 16))
            whole = stream.read().rstrip()[-1:] in (b'}', b']')
    else:
        whole = file.suffix != '.npz' or zipfile.is_zipfile(file)
    if not whole:
        raise UserError(f'{key}: {file} is cut off or no {file.suffix[1:]} file; get it again.')


def _downloads(dataset: dict, cfg: Config) -> bool:
    """Whether the data set's class fetches what is missing by itself, as mmpretrain's CIFAR does."""
    kind = dataset.get('type')
    if isinstance(kind, str) and kind:
        with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            kind = registry.get(kind)
    return callable(kind) and 'download' in inspect.signature(kind).parameters and dataset.get('download', True)
