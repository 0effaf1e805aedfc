"""Counts what an iteration of each phase requires of the GPU."""

from collections import Counter
from dataclasses import dataclass

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.schedule.hook import StageScheduleHook
from tests.pretended.gpu import Gpu


@dataclass
class Counted:
    """One iteration's numbers by line of code, and the lines at which the host waited in any iteration."""

    launches: Counter
    waits: Counter
    blocking: Counter

    @property
    def row(self) -> tuple[int, int, int]:
        """Launches, waits, blocking copies."""
        return self.launches.total(), self.waits.total(), self.blocking.total()


class CountPhases(Hook):
    """Counts the second iteration of each phase: optimizers and averages allocate their state in the first one.

    It is neither the last of an epoch nor one that is logged, if epochs have three iterations and loggers look seldom.
    """

    priority = 'LOWEST'

    def __init__(self, gpu: Gpu):
        self.gpu = gpu
        self.phases: dict[str, Counted] = {}

    def before_train_epoch(self, runner: Runner) -> None:
        (self.schedule,) = (hook for hook in runner.hooks if isinstance(hook, StageScheduleHook))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if batch_idx == 1:
            counted = Counted(Counter(self.gpu.launches), Counter(self.gpu.waits), Counter(self.gpu.blocking))
            self.phases[self.schedule.position.name] = counted
        self.gpu.reset()
