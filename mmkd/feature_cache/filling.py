"""Filling the file of features: every process computes and writes its share of the images."""

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_rank, get_world_size
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmkd.checkpoints.preemption import PreemptionHook
from mmkd.distillers.base import Distiller
from mmkd.errors import UserError, in_one_line
from mmkd.feature_cache.file import RowFile, Views
from mmkd.feature_cache.rows import RowFormat
from mmkd.utils.first_process import in_first_process
from mmkd.utils.random_state import own_randomness


class Filling:
    """Computes rows as the training would, with its loader, preprocessing and precision.

    Args:
        runner: About to begin the head's first epoch.
        distiller: The model, in training mode.
        rows: The format of a row.
        seed: Of the views.
    """

    def __init__(self, runner: Runner, distiller: Distiller, rows: RowFormat, seed: int):
        self.runner, self.distiller, self.rows, self.seed = runner, distiller, rows, seed
        self.preemption = next((hook for hook in runner.hooks if isinstance(hook, PreemptionHook)), None)
        self.shapes: set[tuple[int, ...]] = set()  # metadata of the images seen

    def fill(self, file: RowFile) -> None:
        """Write all views of all images and complete the file."""
        _check_shared(file)
        begin = time.monotonic()
        self.runner.logger.info(f'Feature cache: {file.path} is being filled.')
        handle = file.open()
        try:
            with own_randomness():
                self._write(file, handle)
            os.fsync(handle)
        finally:
            os.close(handle)
        barrier()
        make_in_first_process(file.finish)
        self.runner.logger.info(f'Feature cache: filled in {time.monotonic() - begin:.1f} s.')

    def _write(self, file: RowFile, handle: int) -> None:
        """This process's share of the views."""
        share = -(-file.images // get_world_size())
        first = get_rank() * share
        plain = self.runner.train_loop.dataloader
        views = Views(plain.dataset, [i % file.images for i in range(first, first + share)], self.seed)
        loader = DataLoader(
            views,
            batch_size=plain.batch_size,
            sampler=range(file.views * share),
            num_workers=plain.num_workers,
            collate_fn=plain.collate_fn,
            worker_init_fn=plain.worker_init_fn,
            pin_memory=plain.pin_memory,
        )
        done = 0
        for step, batch in enumerate(loader):
            rows = self._compute(batch)
            file.write(handle, [views.place(done + i) for i in range(len(rows))], rows)
            done += len(rows)
            if done // share > (done - len(rows)) // share:
                self.runner.logger.info(f'Feature cache: {done // share} of {file.views} views are done.')
            if self.preemption is not None:
                self.preemption.leave_if_wanted(self.runner, step)

    @torch.no_grad()
    def _compute(self, batch: Any) -> Tensor:
        """The rows of a batch."""
        self.shapes |= {tuple(image.shape) for image in batch['inputs']}
        if len(self.shapes) > 1:
            raise UserError(
                'mmkd.FeatureCacheHook: the training images differ in size, so their features depend on how their '
                'batch is padded; resize or crop them to one size in the pipeline, or leave the hook out.'
            )
        with self.runner.optim_wrapper.optim_context(self.runner.model):
            data = self.distiller.data_preprocessor(batch, True)
            return self.rows.pack(self.distiller.student.extract_feat(data['inputs']), data['data_samples'])


def _check_shared(file: RowFile) -> None:
    seen = torch.tensor(int(file.partial.exists()))
    all_reduce(seen, op='min')
    if not seen:
        raise UserError(
            f'mmkd.FeatureCacheHook.dir: {file.path.parent} is not the same folder for all processes; choose one on a '
            'file system that all nodes share.'
        )


def make_in_first_process(act: Callable[[], Any]) -> Any:
    """:func:`in_first_process` for work on the file, where file systems and data sets may raise anything."""

    def explained() -> Any:
        try:
            return act()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f'mmkd.FeatureCacheHook: the file cannot be written ({in_one_line(error)}); check dir.'
            ) from error

    return in_first_process(explained)
