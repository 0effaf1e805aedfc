"""What happens at the end of a stage, and at its validations."""

from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.schedule.inheriting import Inheriting
from mmkd.schedule.position import Position
from mmkd.schedule.stage_report import StageReport
from mmkd.schedule.stage_setup import average_buffers, restart_averages
from mmkd.schedule.stage_validation import BestStage, validate_stages


class StageEnd:
    """Validates stages, and sets each stage's final state.

    Args:
        distiller: Learns the stages.
        position: Of the run.
        report: Is told what the validation measures.
        inheriting: The student's head may begin as the teacher's when a stage ends.
        best: The best state of the stage, if it is wanted.
    """

    def __init__(
        self,
        distiller: Distiller,
        position: Position,
        report: StageReport,
        inheriting: Inheriting,
        best: BestStage | None,
    ):
        self.distiller, self.position, self.report = distiller, position, report
        self.inheriting, self.best = inheriting, best

    def look_back(self, runner: Runner, done: int) -> None:
        """Validate the stage if due; complete it if it ends after this many epochs or iterations of the run."""
        ends = self.position.ends_at(done)
        validates = runner.val_loop is not None and self.distiller.measures
        if validates and (ends or done % (runner.train_loop.val_interval * self.position.per_count) == 0):
            self.report.stop()
            means = validate_stages(runner, self.distiller, self.position.name)
            self.report.explain(means)
            if self.best is not None:
                self.best.offer(means, self.distiller)
        if ends:  # before the checkpoint of this moment is saved
            self._complete(runner)

    def _complete(self, runner: Runner) -> None:
        restored = self.best is not None and self.best.restore(self.distiller)
        restored |= self.inheriting.end(runner, self.position.index)
        if not self.position.is_last:  # after the last stage, nothing depends on it
            average_buffers(self.distiller)
        if restored:  # otherwise checkpoints would contain the average over the whole stage instead
            restart_averages(runner, self.distiller)
