"""A short hash of everything that determines the features."""

import contextlib
import hashlib
import os
import pickle
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def fingerprint(tensors: dict[str, Tensor], dataset: Any, *settings: Any) -> str:
    """Hash the bytes of tensors, the samples of a data set and the ``repr`` of settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    for part in _samples(dataset):
        digest.update(part)
    return digest.hexdigest()[:16]


def _samples(dataset: Any) -> Iterable[bytes]:
    """The metadata of each sample, and the size and modification time of its image file."""
    yield str(len(dataset)).encode()
    for i in range(len(dataset) if hasattr(dataset, 'get_data_info') else 0):
        info = dataset.get_data_info(i)
        yield pickle.dumps(info)
        path = info.get('img_path')
        with contextlib.suppress(OSError):  # it may not be a local file
            for file in map(os.stat, path if isinstance(path, list | tuple) else [path or '']):
                yield f'{file.st_size} {file.st_mtime_ns}'.encode()
