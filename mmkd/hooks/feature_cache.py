"""The stage of the head learned from features that were computed once."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmkd.errors import UserError, in_one_line
from mmkd.feature_cache import RowFile, Views
from mmkd.feature_rows import Shortcut
from mmkd.fingerprint import fingerprint
from mmkd.hooks.feature_checks import check_batches, check_room, check_run, in_bytes, try_out
from mmkd.hooks.preemption import PreemptionHook
from mmkd.hooks.stage_schedule import StageScheduleHook
from mmkd.random_state import own_randomness
from mmkd.registry import HOOKS
from mmkd.version import __version__

PREFIX, SUFFIX = 'features-', '.bin'


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Computes what the frozen student puts out once, and lets the head learn from that.

    When the schedule of :class:`mmkd.SSKD` comes to the head, every training image is augmented ``views`` times and
    its features are written into a file; then each image of a batch is one of its views, drawn anew in each epoch. The
    file is made again when the weights, the data, the pipeline or the seed are others.

    Args:
        views (int): How many augmented views of each image are kept; 1 is enough for a pipeline without chance.
            Defaults to 4.
        dir (str, optional): The folder of the file, for this run alone. Defaults to ``feature_cache`` in the work dir.

    Example:
        >>> default_hooks = dict(cache=dict(type='mmkd.FeatureCacheHook', views=4))
    """

    priority = 6  # right after the schedule, before what looks at the data loader

    def __init__(self, views: int = 4, dir: str | None = None):
        if not isinstance(views, int) or isinstance(views, bool) or views < 1:
            raise UserError(f'mmkd.FeatureCacheHook.views: it must be a whole number, 1 or more, not {views!r}.')
        if not isinstance(dir, str | None) or dir == '':
            raise UserError(f'mmkd.FeatureCacheHook.dir: it must be the path of a folder, not {dir!r}.')
        self.views = views
        self.dir = dir
        self.schedule: StageScheduleHook | None = None
        self.phase: tuple[str, ...] | None = None  # that of the head, if features are kept for it
        self.shapes: set[tuple[int, ...]] = set()  # of the images that were seen
        self.plain: DataLoader | None = None  # the loader of images, while another one takes its place

    def before_run(self, runner: Runner) -> None:
        """Refuse what cannot be, and tell how much room it will take."""
        self.schedule = next((hook for hook in runner.hooks if isinstance(hook, StageScheduleHook)), None)
        if self.schedule is None:  # a test of the student
            return
        self.distiller = self.schedule.distiller
        head = (self.distiller.plan.head.name,)
        check_run(runner, self.schedule, head)
        epochs = self.schedule.schedule.lengths[self.schedule.schedule.phases.index(head)]
        if self.views >= epochs:
            runner.logger.warning(
                f'mmkd.FeatureCacheHook.views: {self.views} views of each image cost as much as the {epochs} epochs of '
                f'stage {head[0]}, so nothing is kept; take fewer views.'
            )
            return
        self.rows = try_out(runner, self.distiller, head)
        check_batches(runner)
        self.phase = head
        self.preemption = next((hook for hook in runner.hooks if isinstance(hook, PreemptionHook)), None)
        self.folder = Path(self.dir or Path(runner.work_dir, 'feature_cache'))
        file = self._file(runner, '')
        runner.logger.info(
            f'Feature cache: {self.views} {"views" if self.views > 1 else "view"} of {file.images:,} images will take '
            f'{in_bytes(file.bytes)} ({file.size:,} bytes each) in {self.folder}.'
        )
        check_room(self.folder, file.bytes - sum(old.stat().st_size for old in self._old()))

    def before_train(self, runner: Runner) -> None:
        """Refuse to go without a schedule."""
        if self.schedule is None:
            raise UserError('mmkd.FeatureCacheHook: it needs a distiller and its schedule; leave the hook out.')

    def before_train_epoch(self, runner: Runner) -> None:
        """The stage of the head may begin or end with an epoch."""
        is_head = self.phase is not None and self.distiller.current == self.phase
        if is_head and self.plain is None:
            self._begin(runner)
        elif not is_head:
            self._end(runner)

    def after_train(self, runner: Runner) -> None:
        """Images again."""
        self._end(runner)

    def _begin(self, runner: Runner) -> None:
        """Learn from the file, which is filled if it is not there."""
        file, is_whole = in_first_process(lambda: self._choose(runner))
        if is_whole:
            runner.logger.info(f'Feature cache: {file.path} holds the features of these weights and data; it is used.')
        else:
            self._fill(runner, file)
        self.plain = runner.train_loop.dataloader
        runner.train_loop.dataloader = file.loader(self.plain)
        self.shortcut = Shortcut(self.distiller.student, self.rows)
        self.shortcut.put_on()

    def _end(self, runner: Runner) -> None:
        if self.plain is not None:
            runner.train_loop.dataloader, self.plain = self.plain, None
            self.shortcut.take_off()

    def _choose(self, runner: Runner) -> tuple[RowFile, bool]:
        """The file of these weights and data, and whether it is whole; else others go and its room is made."""
        file = self._file(runner, self._fingerprint(runner))
        is_whole = file.is_whole()
        if not is_whole:
            for old in self._old():
                if old.suffix == SUFFIX:  # else it was never whole
                    runner.logger.info(f'Feature cache: {old} is of other weights, data or settings; it is made anew.')
                old.unlink()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file.create()
            except OSError as error:
                file.partial.unlink(missing_ok=True)
                raise UserError(
                    f'mmkd.FeatureCacheHook: {in_bytes(file.bytes)} cannot be had in {self.folder} '
                    f'({error.strerror or error}); make room, take fewer views or another dir, then go on with '
                    '--resume.'
                ) from error
        return file, is_whole

    def _file(self, runner: Runner, name: str) -> RowFile:
        images = len(runner.train_dataloader.dataset)
        return RowFile(self.folder / f'{PREFIX}{name}{SUFFIX}', self.views, images, self.rows.size)

    def _old(self) -> list[Path]:
        return sorted(self.folder.glob(f'{PREFIX}*{SUFFIX}*'))

    def _seed(self, runner: Runner) -> int:
        """The sampler's, which a resumed run without a seed in its config has from its checkpoint."""
        return getattr(runner.train_dataloader.sampler, 'seed', runner.seed)

    def _fingerprint(self, runner: Runner) -> str:
        head, student, cfg = self.distiller.plan.head, self.distiller.student, runner.cfg
        frozen = {
            name: value
            for name, value in student.state_dict().items()
            if name not in head.parameters and name.rpartition('.')[0] not in head.modules
        }
        dataset = runner.train_dataloader.dataset
        loader = cfg.get('train_dataloader', {})
        data = [loader.get('dataset'), str(loader.get('collate_fn')), cfg.get('data_preprocessor')]
        how = [type(runner.optim_wrapper).__name__, str(getattr(runner.optim_wrapper, 'cast_dtype', None))]
        how.append(str(self.distiller.speed_ups.frozen_dtype))
        where = [__version__, torch.__version__, str(next(student.parameters()).device.type)]
        settings = [self.views, self._seed(runner), str(self.rows), cfg.model.get('student'), *data, *how, *where]
        return fingerprint(frozen, dataset, *settings)

    def _fill(self, runner: Runner, file: RowFile) -> None:
        seen = torch.tensor(int(file.partial.exists()))
        all_reduce(seen, op='min')
        if not seen:
            raise UserError(
                f'mmkd.FeatureCacheHook.dir: {self.folder} is not the same folder for all processes; choose one on a '
                'file system that all nodes share.'
            )
        begin = time.monotonic()
        share = -(-file.images // get_world_size())
        first = get_rank() * share
        plain = runner.train_loop.dataloader
        views = Views(plain.dataset, [i % file.images for i in range(first, first + share)], self._seed(runner))
        loader = DataLoader(
            views,
            batch_size=plain.batch_size,
            sampler=range(self.views * share),
            num_workers=plain.num_workers,
            collate_fn=plain.collate_fn,
            worker_init_fn=plain.worker_init_fn,
            pin_memory=plain.pin_memory,
        )
        runner.logger.info(f'Feature cache: {file.path} is being filled.')
        handle = file.open()
        try:
            done = 0
            with own_randomness():
                for step, batch in enumerate(loader):
                    rows = self._compute(runner, batch)
                    file.write(handle, [views.place(done + i) for i in range(len(rows))], rows)
                    done += len(rows)
                    if done // share > (done - len(rows)) // share:
                        runner.logger.info(f'Feature cache: {done // share} of {self.views} views are done.')
                    if self.preemption is not None:
                        self.preemption.leave_if_wanted(runner, step)
            os.fsync(handle)
        finally:
            os.close(handle)
        barrier()
        in_first_process(file.finish)
        runner.logger.info(f'Feature cache: filled in {time.monotonic() - begin:.1f} s.')

    @torch.no_grad()
    def _compute(self, runner: Runner, batch: Any) -> Tensor:
        """The rows of a batch, as its training would have them."""
        self.shapes |= {tuple(image.shape) for image in batch['inputs']}
        if len(self.shapes) > 1:
            raise UserError(
                'mmkd.FeatureCacheHook: the training images differ in size, so their features depend on the batch that '
                'they are padded in; resize or crop them to one size in the pipeline, or leave the hook out.'
            )
        with runner.optim_wrapper.optim_context(runner.model):
            data = self.distiller.data_preprocessor(batch, True)
            return self.rows.pack(self.distiller.student.extract_feat(data['inputs']), data['data_samples'])


def in_first_process(act: Callable[[], Any]) -> Any:
    """What the first process finds or refuses, in all of them; else the others would wait for it."""
    told: list = [None]
    if is_main_process():
        try:
            told = [act()]
        except UserError as error:
            told = [error]
        except Exception as error:  # of a file system, or of a data set's samples
            told = [UserError(f'mmkd.FeatureCacheHook: the file cannot be made ({in_one_line(error)}); see dir.')]
    broadcast_object_list(told)
    if isinstance(told[0], UserError):
        raise told[0]
    return told[0]
