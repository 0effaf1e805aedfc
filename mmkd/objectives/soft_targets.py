"""The teacher's class scores as targets for the student's."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmkd.losses.common import times
from mmkd.objectives.given import build_for, build_loss, check_given, given, needs_of, needs_samples, try_on
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.term import Seen, Term
from mmkd.objectives.term_options import When
from mmkd.stages.phases import Phase
from mmkd.tasks.base import Task
from mmkd.utils.numbers import check_weight

SOFT_LOSS = 'soft_loss'


class SoftTargets(Term):
    """The distance of the student's class scores to the teacher's.

    Args:
        networks: The student, its teacher and the extras.
        task: Of both networks.
        loss (dict, optional): The distance. Defaults to the task's.
        weight (float, optional): Defaults to the task's ``alpha``.
        name: Of a term that the user names; None for the distiller's own options.
        when: The part of a phase in which it acts.
    """

    needs_teacher_scores = True

    def __init__(
        self,
        networks: Networks,
        task: Task,
        loss: dict | None = None,
        weight: float | None = None,
        name: str | None = None,
        when: When | None = None,
    ):
        super().__init__(networks)
        self.task, self.when = task, when or When()
        self.extra = SOFT_LOSS if name is None else f'term_{name}'
        self.loss_key = 'model.soft_loss' if name is None else f'model.terms.{name}.loss'
        self.logged = 'loss_soft' if name is None else f'loss_term_{name}'
        networks.extras[self.extra] = build_loss(self.loss_key, loss or task.soft_loss)
        self.weight = check_weight('model.alpha', task.alpha if weight is None else weight)

    @property
    def loss(self) -> nn.Module:
        """The loss between scores."""
        return self.networks.extras[self.extra]

    def prepare(self, inputs: Tensor) -> None:
        """Raise an error for a loss that asks for missing inputs."""
        if self.weight:
            try_on(self.loss_key, self.loss, self.task.example_scores())
            check_given(self.loss_key, self.loss, self.networks, ['labels'] if self.task.tells_labels else [])
            self.task.labels_wanted |= 'labels' in needs_of(self.loss)

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build the loss's own parameters; detectors' losses have none."""
        self.when = self.when.in_parts(self.loss_key.rpartition('.')[0], self.networks.epochs)
        classes = self.task.num_classes(self.networks.student)
        if self.weight and classes is not None:
            build_for(self.loss_key, self.loss, self.networks, ([(classes,)], [(classes,)]))

    def acts_in(self, phase: Phase) -> bool:
        """Acts in phases with the head, if it has a weight."""
        return bool(self.weight)

    def acts_at(self, step: Step) -> bool:
        """Acts in its part of the phase, and for labelled images if its loss needs labels."""
        if needs_samples(self.loss) and not step.labelled:
            return False
        return self.acts_in(step.phase) and bool(self.when.share(step.progress))

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The distance times the weight."""
        weight = self.weight * self.when.share(step.progress)
        more = given(self.loss, self.networks, step, dict(labels=student.labels) if self.task.tells_labels else None)
        return {self.logged: times(weight, self.loss(student.scores, teacher.scores, **more))}

    def learns_from_images(self, phase: Phase) -> bool:
        """Scores need no labels, but some losses do."""
        return bool(self.weight) and not needs_samples(self.loss)

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The loss between scores."""
        return [self.loss]
