"""The teacher's class scores as targets of the student's."""

from torch import Tensor, nn

from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.options import check_weight
from mmkd.objectives.term import Seen, Term
from mmkd.registry import MODELS
from mmkd.stages.phases import Phase
from mmkd.tasks.base import Task
from mmkd.utils.random_state import own_randomness

SOFT_LOSS = 'soft_loss'


class SoftTargets(Term):
    """The distance of the student's class scores to the teacher's.

    Args:
        networks: The student, its teacher and the extras.
        task: Of both networks.
        loss (dict, optional): The distance. Defaults to the task's.
        weight (float, optional): Defaults to the task's ``alpha``.
    """

    needs_teacher_scores = True

    def __init__(self, networks: Networks, task: Task, loss: dict | None = None, weight: float | None = None):
        super().__init__(networks)
        self.task = task
        with own_randomness():
            networks.extras[SOFT_LOSS] = MODELS.build(loss or task.soft_loss)
        self.weight = check_weight('model.alpha', task.alpha if weight is None else weight)

    @property
    def loss(self) -> nn.Module:
        """The distance."""
        return self.networks.extras[SOFT_LOSS]

    def acts_in(self, phase: Phase) -> bool:
        """With a weight."""
        return bool(self.weight)

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The distance times the weight."""
        return {'loss_soft': self.weight * self.loss(student.scores, teacher.scores)}

    def learns_from_images(self, phase: Phase) -> bool:
        """Scores need no labels."""
        return bool(self.weight)

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The distance."""
        return [self.loss]
