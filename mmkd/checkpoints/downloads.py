"""Checkpoints named by URL: each has its own path in torch's cache and appears there only when complete."""

import hashlib
import os
import re
import time
import uuid
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import torch
from mmengine.logging import print_log

from mmkd.checkpoints.atomic_files import PARTIAL, is_archive, is_whole
from mmkd.errors import UserError, in_one_line

PATIENCE = 60.0  # seconds in which a server must send something, and that much:
LEAST = 600_000  # bytes
CHUNK = 1 << 20


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """Load as ``torch.hub`` does, from its cache if the file there certainly came from this URL."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    name = unquote(urlsplit(url).path).rpartition('/')[2] or 'checkpoint.pth'
    if not _is_named_by_content(folder / name):
        folder /= f'{hashlib.sha256(url.encode()).hexdigest()[:16]}.mmkd'
        if not (folder / name).is_file():
            _fetch(url, folder / name)
    return torch.hub.load_state_dict_from_url(url, str(folder), map_location, progress, file_name=name)


def _is_named_by_content(file: Path) -> bool:
    """Whether a file's name holds a hash of its content, as ``resnet18-5c106cde.pth`` does."""
    told = re.search(r'[-_]([0-9a-f]{8,64})\.\w+$', file.name)
    if told is None or not file.is_file():
        return False
    digest = hashlib.sha256()
    with file.open('rb') as content:
        while part := content.read(CHUNK):
            digest.update(part)
    return digest.hexdigest().startswith(told[1])


def _fetch(url: str, file: Path) -> None:
    """Download the whole file, or raise an error with the reason."""
    print_log(f'Downloading {url} to {file}', logger='current')
    partial = file.with_name(uuid.uuid4().hex + PARTIAL)  # processes of several machines may do the same
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open('xb') as content:
            _receive(url, content)
        if is_archive(partial) and not is_whole(partial):
            raise OSError('what came is damaged')
        os.replace(partial, file)
    except (OSError, HTTPException, ValueError) as error:
        raise UserError(
            f'{url} cannot be downloaded ({in_one_line(error)}); try again, or get the file yourself and name its path.'
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _receive(url: str, file: Any) -> None:
    request = Request(url, headers={'User-Agent': 'torch.hub'})
    with urlopen(request, timeout=PATIENCE) as answer:
        length, received, begin, before = answer.length, 0, time.monotonic(), 0
        while part := answer.read1(CHUNK):
            file.write(part)
            received += len(part)
            if time.monotonic() - begin > PATIENCE:
                if received - before < LEAST:
                    raise OSError(f'the server sent {received - before:,} bytes in {PATIENCE:.0f} seconds')
                begin, before = time.monotonic(), received
    if length is not None and received != length:
        raise OSError(f'it ended after {received:,} of {length:,} bytes')
