"""Loads checkpoints without running code in them, unless the user trusts them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from unittest.mock import patch

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmkd.checkpoints.atomic_files import is_zip_bomb
from mmkd.checkpoints.downloads import load_url
from mmkd.checkpoints.plain_data import ALLOWED, restored
from mmkd.errors import UserError, did_you_mean, in_one_line

TRUST = 'MMKD_TRUST_CHECKPOINTS'  # environment variable, for programs that build the Runner themselves
_load = CheckpointLoader.load_checkpoint


def load_checkpoint(filename: str, map_location: Any = None, logger: Any = 'current') -> Any:
    """Load as mmengine does, from any of its sources, but reject what could run code."""
    with patch.object(mmengine_checkpoint, 'load_url', load_url):
        if os.environ.get(TRUST) == '1':
            return _load(filename, map_location, logger)
        if is_zip_bomb(Path(filename).expanduser()):
            raise UserError(f'{filename} grows to many times its size when it is unpacked; get a good copy of it.')
        try:
            with _weights_only():
                return restored(_load(filename, map_location, logger), {})
        except UnpicklingError as error:
            raise _told(filename, str(error)) from error


def load_named(key: str, filename: str) -> Any:
    """Load a file that the user names under a config key, or raise an error with the key."""
    try:
        return load_checkpoint(filename, map_location='cpu', logger='silent')
    except UserError as error:  # a file of unknown origin
        raise UserError(f'{key}: {error}') from error
    except FileNotFoundError as error:
        path = Path(filename).expanduser()
        near = did_you_mean(path.name, [file.name for file in path.parent.glob('*')])
        raise UserError(f'{key}: {filename} does not exist.{near}') from error
    except Exception as error:  # a damaged or foreign file may raise anything
        raise UserError(
            f'{key}: {filename} cannot be read ({in_one_line(error)}): it is damaged, or no checkpoint of torch; get a '
            'good copy of it.'
        ) from error


def _told(filename: str, said: str) -> Exception:
    """Torch's error without its advice to load the file unsafely."""
    refused = re.search(r'GLOBAL ([\w.]+)', said)
    if refused is None:
        reason = re.search(r'WeightsUnpickler error:\s*(.+)', said)
        return UnpicklingError(f'damaged, or no checkpoint of torch{": " + reason[1] if reason else ""}')
    return UserError(
        f'{filename} holds more than weights and plain data ({refused[1]}), and loading that could run any code; '
        'if you trust its author, set trust_checkpoints=True in the config (--cfg-options trust_checkpoints=True).'
    )


@contextmanager
def guarded(cfg: Config) -> Iterator[None]:
    """Let mmengine load everything inside by :func:`load_checkpoint`; the config says whether files are trusted."""
    trust = {TRUST: '1'} if cfg.get('trust_checkpoints', False) else {}
    with patch.object(CheckpointLoader, 'load_checkpoint', load_checkpoint), patch.dict(os.environ, trust):
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    """Mmengine loads with ``weights_only=False`` where the other way fails, and from URLs at once."""
    with (
        torch.serialization.safe_globals(ALLOWED),
        patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'),
        patch.object(mmengine_checkpoint, '_safe_torch_load', torch.load, create=True),
    ):
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)  # back at the end
        yield
