"""What is done when a stage ends, and at its validations before."""

from mmengine.runner import Runner

from mmkd.distillers.base import Distiller
from mmkd.schedule.inheriting import Inheriting
from mmkd.schedule.position import Position
from mmkd.schedule.stage_report import StageReport
from mmkd.schedule.stage_setup import average_buffers, restart_averages
from mmkd.schedule.stage_validation import BestStage, validate_stages


class StageEnd:
    """Validates stages, and leaves each in the state in which it stays.

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
        """Validate now and then; complete the stage if it ends after so many epochs or iterations of the run."""
        ends = self.position.ends_at(done)
        validates = runner.val_loop is not None and self.distiller.measures
        if validates and (ends or done % (runner.train_loop.val_interval * self.position.per_count) == 0):
            self.report.stop()
            iterations = runner.iter if self.position.by_epoch else done
            means = validate_stages(runner, self.distiller, self.position.name, iterations)
            self.report.explain(means)
            if self.best is not None:
                self.best.offer(means, self.distiller)
        if ends:  # now, so that the checkpoint of this moment holds it
            self._complete(runner)

    def _complete(self, runner: Runner) -> None:
        restored = self.best is not None and self.best.restore(self.distiller)
        restored |= self.inheriting.end(runner, self.position.index)
        if not self.position.is_last:  # after the last one nothing depends on it
            average_buffers(self.distiller)
        if restored:  # else checkpoints would hold the average, over all of the stage, in its place
            restart_averages(runner, self.distiller)
