"""Checks of a config before anything is built or written."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from os.path import isdir, isfile  # Path raises for names that are too long
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmkd.checkpoints.atomic_files import check_folder
from mmkd.cli.class_checks import check_own_parts
from mmkd.cli.data_checks import check_data
from mmkd.cli.mixed_precision import check_amp
from mmkd.cli.runner_checks import check_runner_keys, check_spelling
from mmkd.errors import UserError, did_you_mean, in_current_folder
from mmkd.teacher.network import check_teacher_keys, teacher_config
from mmkd.utils.config_mistakes import FILE_TYPES

TRAINING_KEYS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
TESTING_KEYS = ('model', 'test_dataloader', 'test_cfg', 'test_evaluator')
TOOLBOXES = {'mmpretrain': 'onedl-cls', 'mmdet': 'onedl-det'}  # the toolbox, and the extra that installs it


def check_keys(cfg: Config, needed: tuple[str, ...], task: str) -> None:
    """Check that every needed key exists, and that no other is misspelled."""
    missing = [key for key in needed if cfg.get(key) is None]
    if missing:
        hint = did_you_mean(missing[0], set(cfg.keys()) - set(needed))
        raise UserError(
            f'config {cfg.filename}: {task} needs {", ".join(needed)}, '
            f'but {" and ".join(missing)} {"is" if len(missing) == 1 else "are"} missing.{hint} '
            'Inherit them with _base_ or define them.'
        )
    check_spelling(cfg)
    for key in needed:
        if not isinstance(cfg[key], dict | list if key.endswith('_evaluator') else dict):
            raise UserError(f'{key}: it must be a dict, not {cfg[key]!r}.')
    if 'model' in needed and 'type' not in cfg.model:
        raise UserError('model: it has no type; name the class to build.')


def check_training(cfg: Config) -> None:
    """Check that what a training config asks for exists and is available on this machine."""
    check_toolboxes(cfg)
    check_own_parts(cfg)
    check_amp(cfg)
    check_runner_keys(cfg)
    check_optimizer(cfg)
    check_teacher(cfg)
    if isinstance(cfg.get('load_from'), str):
        check_checkpoint('--resume' if cfg.get('resume') else 'load_from', cfg.load_from, cfg.filename)
    check_data_parallel(cfg)
    check_compile(cfg)
    check_unlabelled(cfg)
    check_data(cfg, ('train_dataloader', 'unlabelled_dataloader', 'val_dataloader'))


def check_toolboxes(cfg: Config) -> None:
    """Check that every toolbox that the config uses is installed."""
    scope = cfg.get('default_scope')
    if not isinstance(scope, str | None) or scope == '':
        raise UserError(f"default_scope: it must be the name of a toolbox, such as 'mmpretrain', not {scope!r}.")
    scopes = {scope, *_scopes(cfg.to_dict())}
    for toolbox, extra in TOOLBOXES.items():
        if toolbox in scopes and find_spec(toolbox) is None:
            raise UserError(
                f'config {cfg.filename} uses {toolbox}, which is not installed; run: pip install "mmkd[{extra}]"'
            )


def check_optimizer(cfg: Config) -> None:
    """Check that a distiller's optimizer is a dict; each stage builds its own from it."""
    optimizer = cfg.optim_wrapper.get('optimizer')
    if 'student' in cfg.model and not isinstance(optimizer, dict):
        raise UserError(
            f"optim_wrapper.optimizer: it must be a dict such as dict(type='SGD', lr=0.1), not {optimizer!r}."
        )


def check_data_parallel(cfg: Config) -> None:
    """Raise an error for FSDP and other strategies: each stage wraps a distiller again, which only DDP allows."""
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
    """Raise an error if the whole distiller is compiled: it records outputs and stops forwards early."""
    if cfg.get('compile') and 'student' in cfg.model:
        raise UserError(
            'compile: it would compile the whole distiller, and then no forward pass could stop at a stage; write '
            'model.compile=True instead, which compiles submodules of the networks.'
        )


def check_unlabelled(cfg: Config) -> None:
    """Raise an error for unlabelled data with a plain model."""
    if cfg.get('unlabelled_dataloader') is not None and 'student' not in cfg.model:
        raise UserError(
            'unlabelled_dataloader: only a distiller learns from images without labels, and model.type names none; set '
            'it to one, e.g. mmkd.SSKD, or leave unlabelled_dataloader out.'
        )


def check_checkpoint(flag: str, path: str, config: str | None = None) -> None:
    """Check that a local checkpoint exists and contains weights; mmengine checks URLs.

    Args:
        flag: The flag or key that names it, for messages.
        path: As the user gave it.
        config: The config file that names it.
    """
    if '://' in path:
        return
    file = Path(path).expanduser()
    if isdir(file):
        newest = max(file.glob('*.pth'), key=lambda other: other.stat().st_mtime, default=None)
        raise UserError(f'{flag}: {path} is a folder; name a file in it{f", such as {newest}" if newest else ""}.')
    if file.suffix in FILE_TYPES:
        raise UserError(f'{flag}: {path} is a config by its name; name the file of weights (.pth) that it trained.')
    if not isfile(file):
        nearby = [str(other) for other in file.parent.glob('*.pth') if isfile(other)] if isdir(file.parent) else []
        raise UserError(
            f'{flag}: {path} does not exist{in_current_folder(path)}.'
            f'{_beside(path, config) or did_you_mean(path, nearby)}'
        )
    if not file.stat().st_size:
        raise UserError(f'{flag}: {path} is empty; get a good copy of it.')


def check_teacher(cfg: Config) -> None:
    """Check that the config, the checkpoint and, if named, the file of heads of a distiller's teacher exist."""
    if isinstance(cfg.model.get('teacher_heads'), str):
        check_checkpoint('model.teacher_heads', cfg.model.teacher_heads, cfg.filename)
    if 'student' not in cfg.model or 'teacher' not in cfg.model:
        return
    teacher = check_teacher_keys(cfg.model.teacher)
    config, checkpoint = teacher['config'], teacher['checkpoint']
    try:
        teacher_config(config)
    except UserError as error:
        raise UserError(f'{error}{_beside(config, cfg.filename)}') from error
    if isinstance(checkpoint, str):
        check_checkpoint('model.teacher.checkpoint', checkpoint, cfg.filename)


def _beside(path: Any, config: str | None) -> str:
    """A hint: relative paths start in the current folder, though many expect the config's."""
    if not isinstance(path, str) or config is None or isfile(Path(path).expanduser()):
        return ''
    file = Path(config).parent / path
    return f' There is one beside the config: write {file}.' if isfile(file) else ''


def check_work_dir(work_dir: str) -> None:
    """Check that the work dir can be created and written. This is the last check, since it creates the folder."""
    if not isinstance(work_dir, str):
        raise UserError(f'work_dir: it must be a path, not {work_dir!r}.')
    check_folder('work_dir', work_dir, 'choose another with --work-dir')


def _scopes(node) -> Iterator[str]:
    """The scopes that a config names, in ``_scope_`` or before the dot of a ``type``."""
    if isinstance(node, dict):
        yield from (node[key].split('.')[0] for key in ('_scope_', 'type') if isinstance(node.get(key), str))
        node = node.values()
    if not isinstance(node, str) and isinstance(node, Iterable):
        for inner in node:
            yield from _scopes(inner)
