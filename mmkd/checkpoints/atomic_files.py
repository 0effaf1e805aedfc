"""Atomic writes: a file is complete or absent, even after a crash."""

import contextlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends.registry_utils import prefix_to_backends

from mmkd.errors import UserError

PARTIAL = '.mmkd-partial'  # what ends with it is being written, or was when its process ended
MOST_EXPANSION = 8  # times its size an archive of weights may hold; zipped weights hold little more than their size


def check_folder(key: str, folder: str | Path, cure: str) -> None:
    """Make a folder that a config names, and check that it can be written."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f'{key}: {folder} cannot be written ({error.strerror}); {cure}.') from error


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a checkpoint, or what belongs to it, by :func:`put_whole`."""
    try:
        put_whole(path, content)
    except OSError as error:
        raise UserError(
            f'default_hooks.checkpoint: {path} cannot be written ({error.strerror or error}); what was saved before is '
            'untouched. Make room or set out_dir there to another place, then go on with --resume.'
        ) from error


def put_whole(path: str | Path, content: bytes) -> None:
    """Write a file under another name in its folder, make sure that it is on the disk, then give it its name."""
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def save_whole(path: str | Path, content: Any) -> None:
    """Write a file of torch's that the user names by :func:`put_whole`."""
    file = io.BytesIO()
    torch.save(content, file)
    try:
        put_whole(path, file.getvalue())
    except OSError as error:
        raise UserError(f'{path} cannot be written ({error.strerror}); make room or choose another place.') from error


def check_name(path: Path) -> None:
    """Check before the training that a checkpoint can be written under this name."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        partial.unlink()
    except (OSError, ValueError) as error:
        raise UserError(
            f'default_hooks.checkpoint: {path} cannot be written ({getattr(error, "strerror", error)}); choose another '
            'filename_tmpl or out_dir there.'
        ) from error


def is_archive(path: str | Path) -> bool:
    """Whether a file begins like an archive, which is what torch writes since 1.6."""
    with open(path, 'rb') as file:
        return file.read(4) == b'PK\x03\x04'


def is_whole(path: str | Path) -> bool:
    """Whether a checkpoint is undamaged, by the checksums in torch's archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not is_zip_bomb(path) and archive.testzip() is None
    except Exception:  # a damaged archive may raise anything
        return False


def is_zip_bomb(path: str | Path) -> bool:
    """Whether an archive claims to hold many times its size; torch does not compress, so it is no checkpoint."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist()) > MOST_EXPANSION * os.path.getsize(path)
    except Exception:  # no archive, or a damaged one
        return False


def remove_partial(folder: str | Path) -> None:
    """Remove what earlier processes did not finish writing."""
    for path in Path(folder).glob(f'*{PARTIAL}'):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # a folder, or somebody else's
            raise UserError(
                f'default_hooks.checkpoint: {path} cannot be removed ({error.strerror}), so no file can be written '
                'under this name; remove it.'
            ) from error


@contextlib.contextmanager
def atomic_saves() -> Iterator[None]:
    """Make mmengine's saves to a local disk atomic; other storage is unchanged."""
    with patch.dict(prefix_to_backends, {'': _WholeFileBackend}):
        yield


@contextlib.contextmanager
def saves_in_memory() -> Iterator[dict[str, bytes]]:
    """Collect what mmengine would save to a local disk in this dict instead."""
    files: dict[str, bytes] = {}

    class Backend(LocalBackend):
        def put(self, obj: bytes, filepath: str | Path) -> None:
            files[str(filepath)] = obj

    with patch.dict(prefix_to_backends, {'': Backend}):
        yield files


class _WholeFileBackend(LocalBackend):
    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)


def sync_folder(folder: Path) -> None:
    """Flush the folder, so that the name is on the disk too; not every file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
