"""Checks of the config keys that mmengine's Runner reads itself."""

import logging
import re
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmkd.errors import UserError
from mmkd.utils.signatures import parameters_of

READ = parameters_of(Runner).keys() | parameters_of(FlexibleRunner).keys()
READ |= {'custom_imports', 'model_wrapper_cfg', 'tta_model', 'unlabelled_dataloader'}
"""The top-level keys that hold dicts and are read; ``tta_pipeline`` is too near to everybody's ``test_pipeline``."""
NEAR = 0.85  # no config of the toolboxes has a variable of its own that is as near to one of these keys


def check_spelling(cfg: Config) -> None:
    """Raise an error for a dict under a key that nothing reads but that is nearly one that is read.

    A key with more words, such as ``train_dataloader_2``, is a variable of the user's own.
    """
    for key, value in cfg.items():
        if key in READ or not _has_dicts(value):
            continue
        near = get_close_matches(key, sorted(READ), n=1, cutoff=NEAR)
        if near and not re.search(rf'(^|_){near[0]}(\d|_|$)', key):
            raise UserError(f'{key}: nothing reads this key. Did you mean {near[0]}?')


def _has_dicts(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(inner, dict) for inner in values)


def check_runner_keys(cfg: Config) -> None:
    """Check values that the Runner would reject without naming their key."""
    check_budget(cfg)
    check_log_level(cfg)
    check_learning_rate_scaling(cfg)
    check_groups(cfg)
    visualizer = cfg.get('visualizer')
    if visualizer is not None and not (isinstance(visualizer, dict) and 'type' in visualizer):
        raise UserError(f'visualizer: it must be a dict with a type, not {visualizer!r}.')


def check_groups(cfg: Config) -> None:
    """Check that validation, and testing, have all of their three keys or none."""
    for part in ('val', 'test'):
        keys = [f'{part}_{name}' for name in ('dataloader', 'cfg', 'evaluator')]
        missing = [key for key in keys if cfg.get(key) is None]
        if 0 < len(missing) < len(keys):
            raise UserError(f'{missing[0]}: it is missing; define {", ".join(keys)}, or set all three to None.')


def check_budget(cfg: Config) -> None:
    """Check that lengths and intervals of training and validation are valid, before other parts fail on them."""
    if not isinstance(cfg.get('val_evaluator'), dict | list | None):
        raise UserError(f'val_evaluator: it must be a dict or a list of them, not {cfg.val_evaluator!r}.')
    for key in ('max_epochs', 'max_iters'):
        budget = cfg.train_cfg.get(key, 1)
        if isinstance(budget, int | float) and not budget > 0:
            raise UserError(f'train_cfg.{key}: it must be above 0, not {budget}.')
    interval = cfg.train_cfg.get('val_interval', 1)
    if not isinstance(interval, int | float) or not interval > 0:
        raise UserError(f'train_cfg.val_interval: it must be a number of epochs or iterations, not {interval!r}.')


def check_log_level(cfg: Config) -> None:
    """Check that logging knows the level."""
    level = cfg.get('log_level', 'INFO')
    known = isinstance(level, str) and isinstance(logging.getLevelName(level), int)
    if not (known or isinstance(level, int)):
        raise UserError(f"log_level: it must be a level of logging such as 'INFO', not {level!r}.")


def check_learning_rate_scaling(cfg: Config) -> None:
    """Check that the learning rate can be scaled to the batch size, if that is wanted."""
    scaling = cfg.get('auto_scale_lr')
    if not isinstance(scaling, dict | None):
        raise UserError(f'auto_scale_lr: it must be a dict, not {scaling!r}.')
    if scaling and scaling.get('enable'):
        size = scaling.get('base_batch_size')
        if not isinstance(size, int | float) or not size > 0:
            raise UserError(f'auto_scale_lr.base_batch_size: it must be a number above 0, not {size!r}.')
