"""Reports the time and result of each stage at its end, and of all stages at the run's end."""

import time
from collections import deque
from dataclasses import dataclass

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mmkd.features.explained_variance import R2
from mmkd.utils.durations import duration

LEARNED = 0.5  # a stage whose R squared is lower has not learned its feature
FEWEST = 100  # fewer iterations may be too few to learn
EARLY = 25, 50  # iterations whose loss is the early one: those before have a map fitted to hardly more than themselves
ROSE = 1.1  # times the early loss: a loss above it at the end is no chance


@dataclass
class _Row:
    """The report of one stage, or the sum of all."""

    name: str
    iterations: int = 0
    images: int = 0
    seconds: float = 0.0
    first: str = ''  # the loss
    last: str = ''
    r2: str = ''  # at the end, for each stage that mimics

    @property
    def time(self) -> str:
        return duration(self.seconds)

    @property
    def rate(self) -> str:
        rate = self.images * get_world_size() / self.seconds if self.seconds else 0.0
        return f'{rate:,.0f}' if rate >= 100 else f'{rate:.3g}'


class StageReport:
    """Counts iterations, images and time of each stage, and remembers its first and last losses.

    Images per second are those of all processes over the time between ``start`` and ``stop``: loading, learning and
    logging, but neither validation, saving nor the setup of a stage. The losses are of this process; the one at the end
    is the mean over the stage's last tenth, of 50 iterations at most. They stay on their device until then, so that
    training waits for nothing.
    """

    def __init__(self) -> None:
        self.rows: list[_Row] = []  # the stages that have ended
        self.resumed = ''

    def begin(self, name: str, before: int = 0) -> None:
        """Begin a stage; ``before`` counts its iterations before a resume."""
        self.row = _Row(name)
        self.before = before
        self.first: Tensor | None = None
        self.early: list[Tensor] = []
        self.losses: deque[Tensor] = deque(maxlen=50)
        self.explained: dict[str, float] = {}  # R squared by stage, at the last validation
        self.started: float | None = None

    def start(self) -> None:
        """Start the clock, if it is stopped."""
        if self.started is None:
            self.started = time.perf_counter()

    def stop(self) -> None:
        """Stop the clock."""
        if self.started is not None:
            self.row.seconds += time.perf_counter() - self.started
            self.started = None

    def see(self, loss: Tensor, images: int) -> None:
        """Record one iteration: its loss and the images of this process."""
        self.row.iterations += 1
        self.row.images += images
        self.losses.append(loss.detach())
        if self.first is None:
            self.first = self.losses[0]
        if len(self.early) < EARLY[1]:
            self.early.append(self.losses[-1])

    def see_validation(self, means: dict[str, float]) -> None:
        """Record the R squared of the current stages from a validation."""
        self.explained = {key.removeprefix(R2): value for key, value in means.items() if key.startswith(R2)}

    @property
    def warnings(self) -> list[str]:
        """Describe what the finished stage failed to learn, and the cures."""
        done = self.before + self.row.iterations
        if not self.explained:  # what learns from labels may have terms whose weights grow
            return []
        early = _mean(self.early[EARLY[0] :]) if done >= FEWEST and not self.before else float('inf')
        if float(self.row.last) > ROSE * early:
            return [
                f'Stage {self.row.name} diverged: its loss was {early:.4g} after {EARLY[0]} iterations and is '
                f'{self.row.last} at the end. Clip its gradients more (optim_wrapper.clip_grad=dict(max_norm=5)) or '
                'lower its rate (default_hooks.stages.overrides).'
            ]
        cures = (
            'A longer stage (default_hooks.stages.lengths) or a higher rate (default_hooks.stages.overrides) helps it; '
            'compare the student with that of mmkd.FeatureKD, which learns features and labels together.'
        )
        weak = [f'{name} explains {value:.2f}' for name, value in self.explained.items() if value < LEARNED]
        if weak:
            return [
                f'Stage {self.row.name} has hardly learned: of the variance of what it mimics, {", ".join(weak)}; '
                f'a stage that has learned explains more than {LEARNED}. {cures}'
            ]
        if done < FEWEST:
            return [f'Stage {self.row.name} had {done} iterations, fewer than {FEWEST}. {cures}']
        return []

    def end(self) -> str:
        """End the stage and return its report."""
        self.stop()
        row = self.row
        self.rows.append(row)
        done = _iterations(self.before)
        if self.before:
            self.resumed = f'What came before the run was resumed, in {row.name} {done}, is not in the table.'
        if self.first is None:
            return f'Stage {row.name} ends: nothing was left to do after the {done} before it was resumed.'
        tail = list(self.losses)[-max(1, row.iterations // 10) :]
        row.r2 = ' '.join(f'{value:.2f}' for value in self.explained.values())
        row.first, row.last = f'{self.first.item():.4g}', f'{_mean(tail):.4g}'
        uncounted = f'; not counted: {done} before it was resumed' if self.before else ''
        return (
            f'Stage {row.name} ends: {_iterations(row.iterations)} in {row.time}, {row.rate} images/s, '
            f'loss {row.first} at the start, {row.last} at the end{uncounted}.'
        )

    def summary(self) -> str:
        """All stages that have ended, one line each."""
        total = _Row(
            'total',
            sum(row.iterations for row in self.rows),
            sum(row.images for row in self.rows),
            sum(row.seconds for row in self.rows),
        )
        table = [('stage', 'iterations', 'time', 'images/s', 'loss at the start', 'at the end', 'R2')]
        table += [
            (row.name, f'{row.iterations:,}', row.time, row.rate, row.first, row.last, row.r2)
            for row in (*self.rows, total)
        ]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ['Summary of the stages:']
        for name, *cells in table:
            line = '  '.join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:]))])
            lines.append(f'  {line}'.rstrip())
        return '\n'.join([*lines, *filter(None, [self.resumed])])


def _mean(losses: list[Tensor]) -> float:
    return torch.stack(losses).float().mean().item()


def _iterations(count: int) -> str:
    return f'{count:,} {"iteration" if count == 1 else "iterations"}'
