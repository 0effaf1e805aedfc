"""Which phase a run is in."""

from mmkd.stages.phases import Schedule


class Position:
    """The phase at hand.

    Args:
        schedule: Of the run.
        epoch_length: Iterations of what the loop counts: of an epoch, or 1.
    """

    def __init__(self, schedule: Schedule, epoch_length: int):
        self.schedule = schedule
        self.epoch_length = epoch_length
        self.by_epoch = schedule.unit == 'epochs'
        self.per_count = 1 if self.by_epoch else epoch_length  # of the schedule's units, for one of the loop's
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

    @property
    def iterations(self) -> list[int]:
        """The length of each phase."""
        return [length * self.epoch_length // self.per_count for length in self.schedule.lengths]

    @property
    def length(self) -> dict[bool, int]:
        """Of the phase: iterations (key False), and epochs (key True) if it has a whole number of them."""
        iterations = {False: self.iterations[self.index]}
        return iterations if self.per_count > 1 else {True: self.schedule.lengths[self.index], **iterations}

    def epochs_with(self, name: str) -> float:
        """Of the phase that has this name among its stages; of the run if there is none."""
        phases = zip(self.schedule.phases, self.iterations)
        return next((length for phase, length in phases if name in phase), sum(self.iterations)) / self.epoch_length

    def progress(self, done: int) -> tuple[int, int]:
        """The iterations of the phase that are done, of the run's that are done, and all of the phase."""
        return done - sum(self.iterations[: self.index]), self.iterations[self.index]
