"""Finds the config key of an error that was raised while a part of the config was built or run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.registry import build_functions
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch import nn
from torch.optim import Optimizer

from mmkd.cli.cures import find_part, frames_of, key_of, raise_for_class, raise_for_data, split_of
from mmkd.errors import UserError, in_one_line
from mmkd.utils.signatures import bare_name

RUNNER_KEYS = {
    '__init__': 'the config',
    'setup_env': 'env_cfg',
    'set_randomness': 'randomness',
    'build_log_processor': 'log_processor',
    '_init_model_weights': 'model',
    'wrap_model': 'model_wrapper_cfg',
    'build_optim_wrapper': 'optim_wrapper',
    'build_param_scheduler': 'param_scheduler',
    '_check_scheduler_cfg': 'param_scheduler',
    'build_train_loop': 'train_cfg',
    'build_val_loop': 'val_cfg',
    'build_test_loop': 'test_cfg',
    'build_evaluator': 'val_evaluator',
    'register_default_hooks': 'default_hooks',
    'register_custom_hooks': 'custom_hooks',
    'load_or_resume': 'load_from',
    'call_hook': '_hooks',
}
"""The keys that mmengine's Runner reads, by its method; runner_checks.py has checked others beforehand."""
UNREAD = {'train': ('test_',), 'val': ('train_', 'test_'), 'test': ('train_', 'val_')}
"""By split, how keys begin that are not read while its data are built or used."""
WRONG_VALUES = (TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What a hook raises for wrong arguments; a full disk raises something else."""
STEPS = ('train_step', 'val_step', 'test_step')
PARTS = {
    Optimizer: 'optim_wrapper.optimizer',
    OptimWrapper: 'optim_wrapper',
    _ParamScheduler: 'param_scheduler',
    Evaluator: 'val_evaluator',
    BaseMetric: 'val_evaluator',
    LogProcessor: 'log_processor',
}
"""Other parts of a run, and their config keys."""
LOOPS = {EpochBasedTrainLoop: 'train_cfg', IterBasedTrainLoop: 'train_cfg', ValLoop: 'val_cfg', TestLoop: 'test_cfg'}
"""The loops call everything else, so they are blamed only for errors in their own code."""
BAD_LOSS = '{}: the loss is NaN or infinite. Lower the learning rate or clip gradients (optim_wrapper.clip_grad).'


@contextmanager
def naming_config_keys(cfg: Config) -> Iterator[None]:
    """Turn an error from building or running a part of the config into a :class:`UserError` with its key."""
    before = cfg.to_dict()
    try:
        yield
    except UserError as error:
        if place := key_of(error, _read(before, split_of(frames_of(error)))):
            raise UserError(f'{place}: {error}') from error
        raise
    except Exception as error:
        split = split_of(frames_of(error))
        where = '' if _out_of_memory(error) else _where(error, _read(before, split), split)
        if not where:
            raise
        if split == 'test' and where == 'val_evaluator':  # the tables have validation's
            where = 'test_evaluator'
        raise UserError(
            f'{where} does not fit ({in_one_line(error)}); fix it. MMKD_TRACEBACK=1 shows where it happened.'
        ) from error


def _read(cfg: dict, split: str) -> dict:
    """What is read of the config; parts of validation and test are often alike, and the other's key would be told."""
    return {key: part for key, part in cfg.items() if not key.startswith(UNREAD[split])}


def _where(error: BaseException, cfg: dict, split: str) -> str:
    """The key of the innermost part of the config that was built or run, ``''`` if none was."""
    modules: list[nn.Module] = []
    raise_for_data(error)
    for depth, frame in enumerate(frames_of(error)):
        known = frame.f_locals
        if frame.f_code is build_functions.build_from_cfg.__code__ and isinstance(known.get('cfg'), dict):
            if path := find_part(cfg, known['cfg']):
                raise_for_class(path, error, known)
                return path
        elif frame.f_code is Runner.build_dataloader.__code__:
            loaders = [
                name for name in cfg if name.endswith('_dataloader') and _agrees(cfg[name], known.get('dataloader'))
            ]
            return loaders[0] if loaders else f'{split}_dataloader'
        elif frame.f_code.co_name == 'init_weights' and isinstance(getattr(known.get('self'), 'init_cfg', None), dict):
            if path := find_part(cfg, known['self'].init_cfg):
                return path
        elif isinstance(known.get('self'), Runner) and frame.f_code.co_name in RUNNER_KEYS:
            refused = re.search(r'Runner\.(\w+)\(\)', str(error))  # Python refused arguments before the method ran
            key = RUNNER_KEYS.get(refused[1] if refused else '', RUNNER_KEYS[frame.f_code.co_name])
            if key == '_hooks':
                where = _hook(cfg, known.get('hook')) if isinstance(error, WRONG_VALUES) else ''
                if type(known.get('hook')).__name__ == 'CheckInvalidLossHook' and isinstance(error, AssertionError):
                    raise UserError(BAD_LOSS.format(where)) from error  # mmdet's says None
                return where
            return key
        elif path := _at_work(known.get('self'), error, depth, modules, frame.f_code.co_name, cfg):
            return path
    return ''


def _at_work(part: Any, error: BaseException, depth: int, modules: list, method: str, cfg: dict) -> str:
    """The key of the part that raised an error while running, '' if the machine caused it."""
    wrong = isinstance(error, WRONG_VALUES)
    if isinstance(part, nn.Module):
        modules.append(part)
        of_torch = type(error) in (RuntimeError, NotImplementedError) and not _of_the_machine(error)
        return _module(cfg, part, modules) if method in STEPS and (wrong or of_torch) else ''
    of_torch = type(error) is RuntimeError and not _of_the_machine(error) and not isinstance(part, OptimWrapper)
    if not (wrong or of_torch):  # an OptimWrapper goes through the network, backwards
        return ''
    known = {**PARTS, **LOOPS} if depth == 0 else PARTS
    return next((key for kind, key in known.items() if isinstance(part, kind)), '')


def _of_the_machine(error: BaseException) -> bool:
    """Whether a device, full memory or a dead process caused it."""
    said = str(error).lower()
    return any(word in said for word in ('cuda', 'cudnn', 'cublas', 'nccl', 'gloo', 'connection', 'allocate memory'))


def _out_of_memory(error: BaseException) -> bool:
    """Whether a device has no memory left, or that is what led to the error."""
    before = error.__cause__ or error.__context__
    said = str(error).lower()
    full = isinstance(error, torch.OutOfMemoryError) or 'out of memory' in said or 'alloc_failed' in said
    return full or (before is not None and _out_of_memory(before))


def _module(cfg: dict, model: nn.Module, inner: list[nn.Module]) -> str:
    """The place in the config of the innermost of these modules that belongs to the model."""
    names = {id(module): name.removeprefix('module.') for name, module in model.named_modules()}  # of a DDP wrapper
    path, node = 'model', cfg.get('model')
    for name in next(names[id(module)] for module in inner if id(module) in names).split('.'):
        node = node.get(name) if isinstance(node, dict) else None
        if node is None:
            break
        path += f'.{name}'
    return path


def _agrees(part: Any, built: Any) -> bool:
    """Whether what was built is a part of the config, to which defaults may have been added."""
    if not isinstance(part, dict) or not isinstance(built, dict):
        return False
    return all(key in built and built[key] == value for key, value in part.items())


def _hook(cfg: dict, hook: Any) -> str:
    """Where a hook stands in the config; the schedule hook, which runs everything else, reports its own mistakes."""
    hooks = {f'default_hooks.{name}': part for name, part in dict(cfg.get('default_hooks') or {}).items()}
    hooks |= {f'custom_hooks.{i}': part for i, part in enumerate(cfg.get('custom_hooks') or ())}
    kinds = {key: part.get('type') for key, part in hooks.items() if isinstance(part, dict)}
    names = {key: bare_name(kind) for key, kind in kinds.items()}
    found = [key for key, name in names.items() if name == type(hook).__name__ != 'StageScheduleHook']
    return found[0] if found else ''
