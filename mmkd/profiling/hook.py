"""Profiles where each stage spends its time."""

import os
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, schedule

from mmkd.errors import UserError
from mmkd.profiling.ranges import Ranges
from mmkd.profiling.table import Part, Timeline, table
from mmkd.registry import HOOKS
from mmkd.schedule.hook import StageScheduleHook
from mmkd.utils.wrapped_models import unwrapped

WARM_UP = 3  # iterations; the profiler itself warms up in the last of them


@HOOKS.register_module()
class ProfileHook(Hook):
    """Profiles the first iterations of each stage of a distillation, or of a plain training, which then goes on.

    A table in the log shows the time of each part, and ``profile_<stage>.json.gz`` in the work dir holds the profiler's
    timeline. Of several processes the first is profiled.

    Args:
        iterations (int): How many in each stage, after 3 to warm up.

    Example:
        >>> default_hooks = dict(profile=dict(type='mmkd.ProfileHook', iterations=20))
    """

    priority = 'LOWEST'  # after all other hooks

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.stages: StageScheduleHook | None = None
        self.index = -1  # of the current stage
        self.seen = 0  # of its iterations
        self.images = 0
        self.profiler: profile | None = None
        self.ranges = Ranges()

    def before_run(self, runner: Runner) -> None:
        """Raise an error if a stage has fewer iterations."""
        self.stages = next((hook for hook in runner.hooks if isinstance(hook, StageScheduleHook)), None)
        lengths = {'the training': runner.max_iters}
        if self.stages is not None:
            names = [f'stage {self.stages.schedule.name(i)}' for i in range(len(self.stages.schedule.phases))]
            lengths = dict(zip(names, self.stages.position.iterations))
        name = min(lengths, key=lengths.__getitem__)
        most = lengths[name] - WARM_UP
        if self.iterations > most:
            cure = f'take {most} at most' if most > 0 else 'leave it out'
            raise UserError(
                f'--profile: {self.iterations} iterations after {WARM_UP} to warm up are more than the {lengths[name]} '
                f'of {name}; {cure}.'
            )

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Start, continue or stop profiling."""
        if not is_main_process():
            return
        if self.stages is not None and self.stages.position.index != self.index:
            self.index, self.seen = self.stages.position.index, 0
        self.seen += 1
        if self.profiler is not None:
            self.profiler.step()
            if self.seen > WARM_UP:
                self.images += _images(data_batch)
            if self.seen == WARM_UP + self.iterations:
                if self.stages is not None:
                    self.stages.report.stop()  # the stage's time does not include reading the events
                self._tell(runner, self.profiler)
                self._stop()
        elif self.seen == WARM_UP - 1:
            left = self._left(runner)
            if left > self.iterations:
                self._start(runner)
            else:  # a resumed run
                runner.logger.info(f'{self._title()}: not enough iterations are left in it, {left + WARM_UP - 1}.')

    def after_train(self, runner: Runner) -> None:
        """A hook may have ended the training early."""
        if self.profiler is not None:
            self._stop()

    def _left(self, runner: Runner) -> int:
        """The iterations of the stage that are still to come."""
        done, length = (
            (runner.iter, runner.max_iters) if self.stages is None else self.stages.position.progress(runner.iter)
        )
        return length - done - 1  # the current one is not counted yet

    def _start(self, runner: Runner) -> None:
        self.ranges.put_on_model(unwrapped(runner.model))
        self.ranges.put_on_optimizer(runner.optim_wrapper)
        self.ranges.put(runner.train_dataloader, '_get_iterator', Part.DATA)  # at the start of an epoch
        self.ranges.put_aside(runner, 'save_checkpoint')
        if runner.val_loop is not None:
            self.ranges.put_aside(runner.val_loop, 'run')
        if self.stages is not None:
            self.ranges.put_aside(self.stages.stage_completion, 'validate_or_complete')
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
        plan = schedule(wait=0, warmup=1, active=self.iterations, repeat=1)
        self.images = 0
        os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # otherwise it warns that there is no GPU
        self.profiler = profile(activities=activities, schedule=plan)
        self.profiler.start()

    def _tell(self, runner: Runner, profiler: profile) -> None:
        name = '' if self.stages is None else '_' + self.stages.position.name.replace('/', '_')
        path = Path(runner.work_dir, f'profile{name}.json.gz')
        profiler.export_chrome_trace(str(path))
        text = table(self._title(), Timeline(profiler.events() or []), self.images * get_world_size())
        runner.logger.info(f'{text}\n  The timeline, for https://ui.perfetto.dev or chrome://tracing: {path}')

    def _title(self) -> str:
        name = '' if self.stages is None else f' of stage {self.stages.position.name}'
        return f'Profile of {self.iterations} iteration{"s" * (self.iterations > 1)}{name}'

    def _stop(self) -> None:
        self.ranges.remove()
        if self.profiler is not None:
            self.profiler.stop()
        self.profiler = None


def _images(batch: Any) -> int:
    """The number of images in a batch of mmpretrain or mmdet; 0 for any other batch."""
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    return len(inputs) if isinstance(inputs, Tensor | list) else 0
