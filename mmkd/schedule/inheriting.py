"""Decides when the student inherits the teacher's neck and head, and logs it."""

from collections.abc import Sequence

from mmengine.runner import Runner
from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.heads.inherited import CannotInherit
from mmkd.stages.phases import Schedule


class Inheriting:
    """Copies the neck at the start, and the head when all features are learned.

    Args:
        distiller: Knows how.
        schedule: Of the run.
        inputs: A preprocessed batch, on which the head is tried.
        classes: The names of the student's classes, if its data tell.
    """

    def __init__(self, distiller: Distiller, schedule: Schedule, inputs: Tensor, classes: Sequence[str]):
        self.distiller, self.schedule, self.inputs, self.classes = distiller, schedule, inputs, classes
        self.done = False  # a phase with the head
        self.completed = _completed(schedule)

    def begin(self, runner: Runner) -> None:
        """Call before the first stage; a student with loaded weights inherits nothing."""
        if self.completed is not None and runner._load_from is None and (said := self.distiller.inherit_neck()):
            runner.logger.info(said)

    def end(self, runner: Runner, index: int) -> bool:
        """Call at the end of a phase; returns whether the student has a new head now."""
        changed = index == self.completed and self._inherit_head(runner)
        self.done |= changed
        made = self.done or any(self.schedule.stages[-1] in phase for phase in self.schedule.phases)
        if index + 1 == len(self.schedule.phases) and runner.val_loop is not None and not made:
            runner.logger.warning(
                "No phase learned the student's head, and it is not the teacher's: the validation at the end is that "
                "of the head's first weights. List 'head' in default_hooks.stages.stages to learn it."
            )
        return changed

    def _inherit_head(self, runner: Runner) -> bool:
        try:
            said = self.distiller.inherit_head(self.inputs, self.classes)
        except CannotInherit as reason:
            runner.logger.info(f"The student's head does not start from the teacher's: {reason}.")
            return False
        if said:
            runner.logger.info(said)
        return bool(said)


def _completed(schedule: Schedule) -> int | None:
    """The phase that completes the features, if no earlier phase has the head; None if there is none."""
    *features, head = schedule.stages
    for index, phase in enumerate(schedule.phases):
        if head in phase:
            return None
        if features[-1:] and features[-1] in phase:
            return index
    return None
