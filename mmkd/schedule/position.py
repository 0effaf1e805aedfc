"""Which phase a run is in."""

from mmengine.runner import Runner

from mmkd.stages.phases import Schedule


class Position:
    """The phase at hand.

    Args:
        schedule: Of the run.
    """

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self.by_epoch = schedule.unit == 'epochs'
        self.index = -1  # before the first phase

    @property
    def name(self) -> str:
        """Of the phase."""
        return self.schedule.name(max(self.index, 0))

    @property
    def is_last(self) -> bool:
        """Whether no phase follows."""
        return self.index + 1 == len(self.schedule.phases)

    def ends_at(self, done: int) -> bool:
        """Whether the phase ends after so many epochs or iterations of the run."""
        return done == self.schedule.starts[self.index] + self.schedule.lengths[self.index]

    def iterations(self, runner: Runner) -> list[int]:
        """The length of each phase."""
        epoch_length = len(runner.train_dataloader) if self.by_epoch else 1
        return [length * epoch_length for length in self.schedule.lengths]

    def progress(self, runner: Runner) -> tuple[int, int]:
        """The iterations of the phase that are done, and all of them."""
        lengths = self.iterations(runner)
        return runner.iter - sum(lengths[: self.index]), lengths[self.index]
