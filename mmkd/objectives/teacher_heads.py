"""Trains the teacher's auxiliary heads in a phase of their own."""

from torch import Tensor, nn

from mmkd.objectives.heads import TEACHER_HEADS, AuxiliaryHeads
from mmkd.objectives.objective import Objective, Step
from mmkd.stages.phases import Phase


class TeacherHeadTraining(Objective):
    """The teacher's heads learn from the ground truth, by the student's own loss; no weight of the student changes.

    Args:
        heads: Of both networks; somebody else builds them.
    """

    needs_labels = True

    def __init__(self, heads: AuxiliaryHeads):
        super().__init__(heads.networks)
        self.heads = heads

    @property
    def teachable(self) -> tuple[str, ...]:
        """It teaches the heads, unless they are trained already."""
        return (TEACHER_HEADS,) if self.heads.has_teachers and self.heads.file is None else ()

    def takes(self, phase: Phase) -> bool:
        """Takes the phase that names the heads."""
        return TEACHER_HEADS in phase

    def losses(self, step: Step) -> dict:
        """The own loss of each head."""
        return self.heads.teacher_losses(self.heads.run_teachers(step.inputs, step.data_samples), step.data_samples)

    def learns_from_images(self, phase: Phase) -> bool:
        """Its loss needs labels."""
        return False

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The heads are its extras."""
        return [self.networks.extras[TEACHER_HEADS]]

    def measures(self, phase: Phase) -> bool:
        """Heads that have an accuracy are measured."""
        return bool(self.heads.points) and self.heads.task.has_accuracy

    def measure(self, step: Step) -> dict[str, Tensor]:
        """The accuracy of each head."""
        outputs = self.heads.run_teachers(step.inputs, step.data_samples)
        return self.heads.accuracies(self.heads.named_scores(TEACHER_HEADS, outputs), step.data_samples)
