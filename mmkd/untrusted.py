"""Checkpoints from others: loaded without running what they may say, unless the user trusts them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any
from unittest.mock import patch

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmkd.errors import UserError

TRUST = 'MMKD_TRUST_CHECKPOINTS'  # environment variable, for programs that build the Runner themselves
_load = CheckpointLoader.load_checkpoint


def load_checkpoint(filename: str, map_location: Any = None, logger: Any = 'current') -> Any:
    """Load as mmengine does, from all places that it knows, but nothing that could run code."""
    if os.environ.get(TRUST) == '1':
        return _load(filename, map_location, logger)
    try:
        with _weights_only():
            return _load(filename, map_location, logger)
    except UnpicklingError as error:
        refused = re.search(r'GLOBAL ([\w.]+)', str(error))
        if refused is None:  # damaged
            raise
        raise UserError(
            f'{filename} holds more than weights and plain data ({refused[1]}), and loading that could run any code; '
            'if you trust its author, set trust_checkpoints=True in the config (--cfg-options trust_checkpoints=True).'
        ) from error


@contextmanager
def guarded(cfg: Config) -> Iterator[None]:
    """Whatever mmengine loads inside is loaded by :func:`load_checkpoint`; the config says whether it is trusted."""
    trust = {TRUST: '1'} if cfg.get('trust_checkpoints', False) else {}
    with patch.object(CheckpointLoader, 'load_checkpoint', load_checkpoint), patch.dict(os.environ, trust):
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    """Mmengine loads with ``weights_only=False`` where the other way fails, and from URLs at once."""
    with (
        torch.serialization.safe_globals(_harmless()),
        patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'),
        patch.object(mmengine_checkpoint, '_safe_torch_load', torch.load, create=True),
    ):
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)  # back at the end
        yield


def _harmless() -> list:
    """What mmengine's checkpoints hold besides weights: numpy's arrays and numbers, the history of logged values."""
    array: Any = np.zeros(0).__reduce__()[0]
    number: Any = np.float64(0).__reduce__()[0]
    names = ('numpy.core.multiarray', 'numpy._core.multiarray')  # numpy 1 and 2
    return [
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in np.typecodes['All']},
        *(_named(f'{name}._reconstruct', array) for name in names),
        *(_named(f'{name}.scalar', number) for name in names),
        HistoryBuffer,
        _named('builtins.getattr', _method_of_history),  # the statistics that it offers
    ]


def _named(name: str, function: Callable) -> Callable:
    """A function under the name by which a file asks for it."""

    def stand_in(*args):
        return function(*args)

    stand_in.__module__, _, stand_in.__qualname__ = name.rpartition('.')
    stand_in.__name__ = stand_in.__qualname__
    return stand_in


def _method_of_history(owner: type, name: str) -> Callable:
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnpicklingError(f'Unsupported GLOBAL builtins.getattr of {owner} {name}')
    return getattr(owner, name)
