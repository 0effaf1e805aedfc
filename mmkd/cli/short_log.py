"""The short log: a line an epoch on the console, while the file has everything."""

import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmkd.hooks import StageScheduleHook
from mmkd.start_checks.teacher_score import numbers
from mmkd.utils.durations import duration

LINES = 10  # of a training that counts iterations
OF_MMENGINE = re.compile(r'"(FileClient|HardDiskBackend)" ')
"""How warnings begin with which mmengine's checkpoint hook tells of its own code; no user can mend them."""
OFTEN = 0.2  # seconds between two moves of the bar


@contextmanager
def only_warnings_on_the_console() -> Iterator[None]:
    """What a Runner built inside logs goes into its file as ever, and on the console only if it is a warning."""
    build = Runner.build_logger

    def quiet(runner: Runner, *args: Any, **options: Any) -> MMLogger:
        logger = build(runner, *args, **options)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.addFilter(lambda record: not OF_MMENGINE.match(record.getMessage()))
        return logger

    with patch.object(Runner, 'build_logger', quiet):
        yield


class ShortLog(Hook):
    """Prints a line when an epoch ends, with its validation; on a terminal a bar shows how far it is.

    A training that counts iterations has a line for each tenth of them.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.line = ''  # waits for the validation
        self.bar = sys.stdout.isatty()
        self.drawn = 0.0

    def before_train(self, runner: Runner) -> None:
        """Say where the full log is."""
        self.began, self.first = time.monotonic(), runner.iter
        self.by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.every = len(runner.train_dataloader) if self.by_epoch else max(1, runner.max_iters // LINES)
        how = f'{runner.max_epochs} epochs, ' if self.by_epoch else ''
        self._print(f'{how}{runner.max_iters:,} iterations; the full log: {runner.logger.log_file}')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Nothing was validated after the last line's epoch."""
        self._flush()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Prepare the line of an epoch that ends; else move the bar."""
        done = runner.iter + 1
        if done % self.every == 0 or done == runner.max_iters:
            self._clear()  # what warns now has a line of its own
            self.line = self._line(runner, done)
        elif self.bar and is_main_process() and time.monotonic() - self.drawn > OFTEN:
            self._draw(runner, done)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Complete the line."""
        if self.line:
            self.line += ''.join(f'  {key} {value:.4g}' for key, value in list(numbers(metrics).items())[:1])
        self._flush()

    def after_train(self, runner: Runner) -> None:
        """Say how long it took."""
        self._flush()
        self._print(f'trained in {duration(time.monotonic() - self.began)}')

    def _line(self, runner: Runner, done: int) -> str:
        """Where the training is, at what loss."""
        count = f'epoch {runner.epoch + 1}/{runner.max_epochs}' if self.by_epoch else f'{done:,}/{runner.max_iters:,}'
        stages = [hook.position.name for hook in runner.hooks if isinstance(hook, StageScheduleHook)]
        scalars = runner.message_hub.log_scalars
        loss = [f'loss {scalars["train/loss"].mean(self.every):.4g}'] if 'train/loss' in scalars else []
        left = [f'{self._left(runner, done)} left'] if done < runner.max_iters else []
        return '  '.join([count, *stages, *left, *loss])

    def _left(self, runner: Runner, done: int) -> str:
        return duration((time.monotonic() - self.began) / (done - self.first) * (runner.max_iters - done))

    def _draw(self, runner: Runner, done: int) -> None:
        self.drawn = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        told = f' {100 * done // runner.max_iters:>3} %  {self._left(runner, done)} left'
        long = max(0, min(40, width - len(told) - 2))
        full = long * done // runner.max_iters
        bar = '=' * full + ' ' * (long - full)
        print('\r' + f'[{bar}]{told}'[:width].ljust(width), end='', flush=True)

    def _flush(self) -> None:
        if self.line:
            self._print(self.line)
        self.line = ''

    def _print(self, text: str) -> None:
        if is_main_process():
            self._clear()
            print(text, flush=True)

    def _clear(self) -> None:
        if self.bar and is_main_process():
            print(f'\r{"":<{shutil.get_terminal_size().columns - 1}}', end='\r', flush=True)
