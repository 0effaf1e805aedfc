"""A student's features in a file: a row of bytes for each augmented view of each image."""

import hashlib
import os
import random
import secrets
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.checkpoints.atomic_files import PARTIAL, sync_folder

SUM = 4  # bytes of a row's checksum


class Views(Dataset):
    """A share of the images, augmented. A view of an image does not depend on the process that makes it, or when.

    Args:
        dataset: The training set.
        images: Their numbers in it.
        seed: Together with view and image it seeds all generators that an augmentation may use.
    """

    def __init__(self, dataset: Dataset, images: Sequence[int], seed: int):
        self.dataset, self.images, self.seed = dataset, images, seed

    def place(self, number: int) -> tuple[int, int]:
        """The sample of a view of an image."""
        view, i = divmod(number, len(self.images))
        return view, self.images[i]

    def __getitem__(self, number: int) -> Any:
        view, image = self.place(number)
        seed = int.from_bytes(hashlib.sha256(f'{self.seed} {view} {image}'.encode()).digest()[:4], 'little')
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes longer than a small image's pipeline
        return self.dataset[image]


class RowFile:
    """The file while it is filled; several processes may write, each its own rows.

    A checksum of each row follows the rows, so that damage is found.

    Args:
        path: Its final name, when it is complete.
        views: Of each image.
        images: In the training set.
        size: Bytes of a row.
    """

    def __init__(self, path: Path, views: int, images: int, size: int):
        self.path, self.views, self.images, self.size = path, views, images, size
        self.partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}{PARTIAL}')  # no other run writes here

    @property
    def bytes(self) -> int:
        """Bytes of all rows and checksums."""
        return self.views * self.images * (self.size + SUM)

    def is_whole(self) -> bool:
        """Whether the file was filled completely."""
        return self.path.is_file() and self.path.stat().st_size == self.bytes

    def is_sound(self, path: Path | None = None) -> bool:
        """Whether every row matches its checksum; reads the whole file."""
        path = path or self.path
        rows = np.memmap(path, np.uint8, 'r', shape=(self.views * self.images, self.size))
        sums = np.memmap(path, np.dtype('<u4'), 'r', offset=rows.nbytes, shape=len(rows))
        return all(zlib.crc32(row, place) == told for place, (row, told) in enumerate(zip(rows, sums.tolist())))

    def create(self) -> None:
        """Reserve all of its disk space, so that a full disk fails at the start."""
        with open(self.partial, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, self.bytes)

    def open(self) -> int:
        """A handle for :meth:`write`."""
        return os.open(self.partial, os.O_WRONLY)

    def write(self, handle: int, places: Sequence[tuple[int, int]], rows: Tensor) -> None:
        """Write the rows of these views and images."""
        for (view, image), row in zip(places, rows.numpy()):
            place = view * self.images + image
            os.pwrite(handle, row.data, place * self.size)
            told = zlib.crc32(row, place).to_bytes(SUM, 'little')
            os.pwrite(handle, told, self.views * self.images * self.size + place * SUM)

    def finish(self) -> None:
        """Verify the whole file, then give it its final name."""
        if not self.is_sound(self.partial):
            raise OSError(f'what was written into {self.partial} is not what is in it')
        os.replace(self.partial, self.path)
        sync_folder(self.path.parent)

    def loader(self, plain: DataLoader) -> DataLoader:
        """Batches of rows in the order and size in which another loader would load images.

        The sampler is the same object, so its seed and epoch stay. There are no workers: a batch is one copy from the
        page cache, and views are drawn in the process whose random state a resumed run restores.
        """
        return DataLoader(
            _Rows(self, getattr(plain.dataset, 'metainfo', {})),
            batch_size=plain.batch_size,
            sampler=plain.sampler,
            drop_last=plain.drop_last,
            collate_fn=_as_it_is,
            pin_memory=plain.pin_memory,
        )


class _Rows(Dataset):
    def __init__(self, file: RowFile, metainfo: dict):
        self.metainfo = metainfo
        self.views = file.views
        self.rows = np.memmap(file.path, np.uint8, 'r', shape=(file.views, file.images, file.size))

    def __len__(self) -> int:
        return self.rows.shape[1]

    def __getitems__(self, images: Sequence[int]) -> dict:
        """A batch for torch's data loader; with a single view no random number is drawn."""
        n = len(images)
        views = torch.randint(self.views, (n,)) if self.views > 1 else torch.zeros(n, dtype=torch.long)
        return dict(inputs=torch.from_numpy(self.rows[views.numpy(), np.asarray(images)]))


def _as_it_is(batch: Any) -> Any:
    return batch
