"""Endless batches from any position."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from torch.utils.data import DataLoader


class EndlessBatches:
    """Repeats a batch sampler forever, in a new order each epoch.

    Args:
        batches: The batch sampler.
        place: The number of batches to skip; their images are not loaded.
    """

    def __init__(self, batches: Any, place: int = 0):
        self.batches, self.place = batches, place

    def __iter__(self) -> Iterator[list[int]]:
        return islice(self._all(), self.place, None)

    def _all(self) -> Iterator[list[int]]:
        for epoch in count():  # a sampler ends with each epoch
            self.batches.sampler.set_epoch(epoch)
            yield from self.batches


def endless(loader: DataLoader, place: int = 0) -> DataLoader:
    """A loader of the same images that never ends."""
    return DataLoader(
        loader.dataset,
        batch_sampler=EndlessBatches(loader.batch_sampler, place),  # type: ignore[arg-type]
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        prefetch_factor=loader.prefetch_factor,
    )
