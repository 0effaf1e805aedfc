"""The position of a run in its schedule."""

from mmkd.stages.phases import Schedule


class Position:
    """The current phase.

    Args:
        schedule: Of the run.
        epoch_length: Iterations of what the loop counts: of an epoch, or 1.
    """

    def __init__(self, schedule: Schedule, epoch_length: int):
        self.schedule = schedule
        self.epoch_length = epoch_length
        self.by_epoch = schedule.unit == 'epochs'
        self.per_count = 1 if self.by_epoch else epoch_length  # units of the schedule per unit of the loop
        self.index = -1  # before the first phase

    @property
    def name(self) -> str:
        """The names that are learned in the phase."""
        return self.schedule.name(max(self.index, 0))

    @property
    def is_last(self) -> bool:
        """Whether this is the last phase."""
        return self.index + 1 == len(self.schedule.phases)

    def ends_at(self, done: int) -> bool:
        """Whether the phase ends after this many epochs or iterations of the run."""
        return done == self.schedule.starts[self.index] + self.schedule.lengths[self.index]

    @property
    def iterations(self) -> list[int]:
        """The length of each phase."""
        return [length * self.epoch_length // self.per_count for length in self.schedule.lengths]

    @property
    def length(self) -> dict[bool, int]:
        """The length of the phase in iterations (key False), and in epochs (key True) if that is a whole number."""
        iterations = {False: self.iterations[self.index]}
        return iterations if self.per_count > 1 else {True: self.schedule.lengths[self.index], **iterations}

    def epochs_with(self, name: str) -> float:
        """Of the phase that has this name among its stages; of the run if there is none."""
        phases = zip(self.schedule.phases, self.iterations)
        return next((length for phase, length in phases if name in phase), sum(self.iterations)) / self.epoch_length

    def progress(self, done: int) -> tuple[int, int]:
        """Iterations done in the phase, done in the run, and of the whole phase."""
        return done - sum(self.iterations[: self.index]), self.iterations[self.index]
