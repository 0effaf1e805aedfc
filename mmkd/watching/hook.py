"""The base of hooks that look at both networks on a few validation images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Size, Tensor
from torch.utils.data import DataLoader, Subset

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.features.capture import Feature, run_to
from mmkd.schedule.hook import StageScheduleHook
from mmkd.stages.plan import Stage
from mmkd.teacher.renormalise import swaps_channels
from mmkd.utils.random_state import own_randomness


@dataclass
class Look:
    """A batch of images in RGB, the size they were padded to, and both networks' features at the stages' ends."""

    images: list[Tensor]
    size: Size
    own: list[Feature]
    theirs: list[Feature]


class WatchingHook(Hook):
    """Looks at both networks before the training, and then as often as the config validates.

    The training is not changed by it, bit for bit. Of several processes the first one looks.

    Args:
        images (int): How many, evenly spread over the validation set.
    """

    fewest = 1  # images

    def __init__(self, images: int):
        if not isinstance(images, int) or images < self.fewest:
            raise UserError(f'{self.name}: images must be a whole number, {self.fewest} or more, not {images!r}.')
        self.images = images

    @property
    def name(self) -> str:
        """As a config names it."""
        return f'mmkd.{type(self).__name__}'

    def before_run(self, runner: Runner) -> None:
        """Find the stages of both networks and the images; raise an error where there are none."""
        schedule = next((hook for hook in runner.hooks if isinstance(hook, StageScheduleHook)), None)
        if schedule is None:
            raise UserError(f'{self.name}: it compares student and teacher, and model is no distiller; leave it out.')
        self.schedule = schedule
        networks = schedule.distiller.networks
        partners = getattr(networks, 'teacher_stages', None)
        if not partners:
            raise UserError(
                f'{self.name}: it compares stages of both networks, and mmkd.{type(schedule.distiller).__name__} pairs '
                'none, since it compares scores alone; leave it out.'
            )
        self.pairs: list[tuple[Stage, Stage]] = [(stage, partners[stage.name]) for stage in networks.plan.stages]
        if runner.val_loop is None:
            raise UserError(f'{self.name}: it needs validation images (val_dataloader, val_cfg); set both.')
        loader = runner.val_loop.dataloader
        total = len(loader.dataset)
        if total < self.fewest:
            raise UserError(
                f'{self.name}: val_dataloader has {total} images, and it needs {self.fewest}; leave it out.'
            )
        count = min(self.images, total)
        spread = Subset(loader.dataset, [index * total // count for index in range(count)])
        self.loader = DataLoader(spread, batch_size=loader.batch_size or 1, collate_fn=loader.collate_fn)

    def before_train(self, runner: Runner) -> None:
        """See how the student begins."""
        if runner.iter == 0:
            self._look(runner, 0)

    def after_train_epoch(self, runner: Runner) -> None:
        """See it when a validation is due."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._look_if_due(runner, runner.epoch + 1, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """See it when a validation is due."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._look_if_due(runner, runner.iter + 1, runner.iter + 1)

    def show(self, runner: Runner, looks: Iterator[Look], step: int) -> None:
        """Show what is seen, after so many iterations."""
        raise NotImplementedError

    def _look_if_due(self, runner: Runner, done: int, step: int) -> None:
        if done % runner.train_loop.val_interval == 0:
            self._look(runner, step)

    def _look(self, runner: Runner, step: int) -> None:
        if not is_main_process():
            return
        self.schedule.report.stop()  # a stage's time is that of its training
        distiller = self.schedule.distiller
        distiller.eval()
        with torch.no_grad(), own_randomness():
            self.show(runner, self._looks(distiller), step)
        distiller.train()

    def _looks(self, distiller: Distiller) -> Iterator[Look]:
        networks = distiller.networks
        stages, partners = zip(*self.pairs)
        for batch in self.loader:
            data = distiller.data_preprocessor(batch, False)
            inputs = networks.padded_for_both(data['inputs'])
            own = run_to(networks.student, stages, inputs)
            theirs = networks.run_teacher(partners, inputs, data['data_samples'])
            yield Look(_in_rgb(batch, swaps_channels(distiller.data_preprocessor)), inputs.shape[2:], own, theirs)


def _in_rgb(batch: dict, swapped_later: bool) -> list[Tensor]:
    """The images of a batch before preprocessing: those from files are BGR, others if the preprocessor turns them."""
    samples = batch.get('data_samples') or [()] * len(batch['inputs'])
    return [
        image.flip(0) if swapped_later or 'img_path' in sample else image
        for image, sample in zip(batch['inputs'], samples)
    ]
