"""Trains the head from features that are computed once."""

from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmkd.errors import UserError
from mmkd.feature_cache.checks import check_batches, check_room, check_run, in_bytes, try_out
from mmkd.feature_cache.file import RowFile
from mmkd.feature_cache.filling import Filling, make_in_first_process
from mmkd.feature_cache.fingerprint import fingerprint
from mmkd.feature_cache.rows import FeatureReplay
from mmkd.registry import HOOKS
from mmkd.schedule.hook import StageScheduleHook
from mmkd.utils.locks import hold
from mmkd.version import __version__

PREFIX, SUFFIX = 'features-', '.bin'


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Computes the features of the frozen student once, and trains the head on them.

    When the schedule of :class:`mmkd.SSKD` comes to the head, every training image is augmented ``views`` times and
    its features are written into a file; then each image of a batch is one of its views, drawn anew in each epoch. The
    file is made again when the weights, the data, the pipeline or the seed are others.

    Args:
        views (int): How many augmented views of each image are kept; 1 is enough for a pipeline without randomness.
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
        self.phase: tuple[str, ...] | None = None  # the head's loader, if its features are kept
        self.plain: DataLoader | None = None  # the loader of images, while another one replaces it

    def before_run(self, runner: Runner) -> None:
        """Check the run, and log how much disk space the file will need."""
        self.schedule = next((hook for hook in runner.hooks if isinstance(hook, StageScheduleHook)), None)
        if self.schedule is None:  # this tests a student
            return
        self.distiller = self.schedule.distiller
        head = (self.distiller.plan.head.name,)
        check_run(runner, self.schedule, head)
        epochs = self.schedule.schedule.lengths[self.schedule.schedule.phases.index(head)]
        if self.views >= epochs:
            runner.logger.warning(
                f'mmkd.FeatureCacheHook.views: {self.views} views of each image cost as much as the {epochs} epochs of '
                f'{head[0]}, so no features are cached; take fewer views.'
            )
            return
        self.rows = try_out(runner, self.distiller, head)
        check_batches(runner)
        self.phase = head
        self.folder = Path(self.dir or Path(runner.work_dir, 'feature_cache'))
        file = self._file(runner, '')
        runner.logger.info(
            f'Feature cache: {self.views} {"views" if self.views > 1 else "view"} of {file.images:,} images will take '
            f'{in_bytes(file.bytes)} ({file.bytes // file.views // file.images:,} bytes each) in {self.folder}.'
        )
        check_room(self.folder, file.bytes - sum(old.stat().st_size for old in self._old()))
        make_in_first_process(self._lock)

    def before_train(self, runner: Runner) -> None:
        """Raise an error if there is no schedule."""
        if self.schedule is None:
            raise UserError('mmkd.FeatureCacheHook: it needs a distiller and its schedule; leave the hook out.')

    def before_train_epoch(self, runner: Runner) -> None:
        """The head's stage may begin or end with this epoch."""
        is_head = self.phase is not None and self.distiller.current == self.phase
        if is_head and self.plain is None:
            self._begin(runner)
        elif not is_head:
            self._end(runner)

    def after_train(self, runner: Runner) -> None:
        """Restore the loader of images."""
        self._end(runner)

    def _begin(self, runner: Runner) -> None:
        """Train from the file; fill it first if it does not exist."""
        file, is_whole = make_in_first_process(lambda: self._choose(runner))
        if is_whole:
            runner.logger.info(f'Feature cache: {file.path} holds the features of these weights and data; it is used.')
        else:
            runner.model.train()  # the loop does the same next, but a validation may have come before
            Filling(runner, self.distiller, self.rows, self._seed(runner)).fill(file)
        self.plain = runner.train_loop.dataloader
        runner.train_loop.dataloader = file.loader(self.plain)
        self.replay = FeatureReplay(self.distiller.student, self.rows)
        self.replay.enable()

    def _end(self, runner: Runner) -> None:
        if self.plain is not None:
            runner.train_loop.dataloader, self.plain = self.plain, None
            self.replay.disable()

    def _lock(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        hold(self.folder, 'mmkd.FeatureCacheHook.dir', 'wait for it or end it, or choose another folder')

    def _choose(self, runner: Runner) -> tuple[RowFile, bool]:
        """The file of these weights and data, and whether it is complete; if not, old files are deleted first."""
        file = self._file(runner, self._fingerprint(runner))
        is_whole = file.is_whole() and file.is_sound()
        if not is_whole:
            for old in self._old():
                why = 'is damaged' if old == file.path else 'is of other weights, data or settings'
                if old.suffix == SUFFIX:  # otherwise it was never complete
                    runner.logger.info(f'Feature cache: {old} {why}; it is computed again.')
                old.unlink()
            try:
                file.create()
            except OSError as error:
                file.partial.unlink(missing_ok=True)
                raise UserError(
                    f'mmkd.FeatureCacheHook: {in_bytes(file.bytes)} cannot be reserved in {self.folder} '
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
        """The sampler's seed; without a seed in the config, a resumed run takes it from its checkpoint."""
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
