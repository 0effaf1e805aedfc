"""The term by which the student's auxiliary heads learn from the teacher's."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.capture import run_to
from mmkd.objectives.given import build_for, build_loss, check_given, given, needs_samples, try_on
from mmkd.objectives.heads import STUDENT_HEADS, TEACHER_HEADS, AuxiliaryHeads
from mmkd.objectives.objective import Step
from mmkd.objectives.options import check_dict
from mmkd.objectives.term import Seen, Term
from mmkd.stages.phases import Phase, check_name
from mmkd.stages.plan import Stage
from mmkd.utils.numbers import check_weight

HEAD_SOFT_LOSS = 'head_soft_loss'


class HeadTerm(Term):
    """The soft loss between the heads of both networks, and the own loss of the student's heads.

    Args:
        heads: Of both networks.
        loss (dict): The soft loss.
        weight (float): Of all heads.
        ce_share (float, optional): The own loss's share. Defaults to the task's.
        head_weights (dict[str, float], optional): Of single heads, by the name of the stage; 1 by default.
        target (str): The teacher's ``'heads'`` or its ``'final'`` scores.
        soft_until (float): The part of the phase after which the soft loss stops.
    """

    def __init__(
        self,
        heads: AuxiliaryHeads,
        loss: dict,
        weight: float,
        ce_share: float | None,
        head_weights: dict[str, float] | None,
        target: str,
        soft_until: float,
    ):
        super().__init__(heads.networks)
        self.heads, self.target = heads, target
        self.networks.extras[HEAD_SOFT_LOSS] = build_loss('model.head_soft_loss', loss)
        self.weight = check_weight('model.beta', weight)
        self.ce_share = check_weight('model.ce_share', heads.task.ce_share if ce_share is None else ce_share, most=1)
        self.soft_until = check_weight('model.soft_until', soft_until, most=1)
        if self.ce_share == 0 and soft_until < 1:
            raise UserError('model.ce_share: with 0, heads have nothing to learn after model.soft_until; raise either.')
        self.head_weights = check_dict('model.head_weights', head_weights or {})
        heads.taught = target == 'heads' and self.ce_share < 1

    @property
    def loss(self) -> nn.Module:
        """The soft loss."""
        return self.networks.extras[HEAD_SOFT_LOSS]

    def choices(self, phase: Phase, progress: float) -> tuple:
        """Whether the soft loss is still computed."""
        return (progress < self.soft_until,)

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The stages that have heads."""
        points = self.heads.points
        return {point.student.end for point in points}, {point.teacher.end for point in points}

    @property
    def needs_teacher_scores(self) -> bool:
        """The teacher's final scores are read if they are the target."""
        return self.target == 'final'

    def prepare(self, inputs: Tensor) -> None:
        """Find the places of the heads that have a weight."""
        points = self.heads.find_points(inputs) if self.weight else []
        names = [point.name for point in points]
        for name, weight in self.head_weights.items():
            check_name(name, names, 'model.head_weights')
            check_weight(f'model.head_weights.{name}', weight)
        self.heads.sit_on([point for point in points if self.head_weights.get(point.name, 1)])
        if self.heads.points and self.ce_share < 1:
            try_on('model.head_soft_loss', self.loss, self.heads.task.example_scores(own=False))
            check_given('model.head_soft_loss', self.loss, self.networks)

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build the heads of both networks."""
        self.heads.build(phases)
        if self.heads.points and self.ce_share < 1:
            scores = [(self.heads.classes,)]
            build_for('model.head_soft_loss', self.loss, self.networks, (scores, scores))

    def acts_in(self, phase: Phase) -> bool:
        """Acts in phases with the head, if there are heads."""
        return bool(self.heads.points)

    def student_stages(self, phase: Phase) -> list[Stage]:
        """The student's stages that have heads."""
        return self.heads.student_stages

    def teacher_stages(self, phase: Phase) -> list[Stage]:
        """The teacher's stages that have heads."""
        return self.heads.teacher_stages

    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The losses of each of the student's heads, and of the teacher's heads if they learn along."""
        heads, losses = self.heads, {}
        more = given(self.loss, self.networks, step) if self._softens(step) else {}
        theirs = heads.outputs(TEACHER_HEADS, teacher.of(heads.teacher_stages))
        for name, own in heads.outputs(STUDENT_HEADS, student.of(heads.student_stages)).items():
            weight = self.weight * self.head_weights.get(name, 1)
            if self._softens(step):
                target = heads.scores(theirs[name]) if name in theirs else teacher.scores
                losses[f'loss_soft_{name}'] = (
                    weight * (1 - self.ce_share) * self.loss(heads.scores(own), target, **more)
                )
            if self.ce_share and step.labelled:
                losses[f'loss_own_{name}'] = weight * self.ce_share * heads.own_loss(own, step.data_samples)
        if heads.learn_along and step.labelled:
            losses.update(heads.teacher_losses(theirs, step.data_samples))
        return losses

    def _softens(self, step: Step) -> bool:
        """Whether the soft loss is computed."""
        possible = step.labelled or not needs_samples(self.loss)
        return possible and self.ce_share < 1 and step.progress < self.soft_until

    def learns_from_images(self, phase: Phase) -> bool:
        """The soft loss needs no labels, unless it asks for them."""
        return bool(self.heads.points) and self.ce_share < 1 and not needs_samples(self.loss)

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The student's heads, and the teacher's if they learn along."""
        names = [STUDENT_HEADS, *([TEACHER_HEADS] if self.heads.learn_along else [])]
        return [self.networks.extras[name] for name in names if name in self.networks.extras]

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """The soft loss, if its share is above 0."""
        return [self.loss] if self.ce_share < 1 else []

    def measures(self, phase: Phase) -> bool:
        """Heads with an accuracy are measured by it, others by the distance of the student's heads to the teacher's."""
        return bool(self.heads.points) and (self.heads.task.has_accuracy or self.heads.has_teachers)

    def measure(self, step: Step) -> dict[str, Tensor]:
        """The accuracies or distances."""
        heads = self.heads
        features = run_to(self.networks.student, heads.student_stages, step.inputs)
        scores = heads.named_scores(STUDENT_HEADS, heads.outputs(STUDENT_HEADS, features))
        if heads.has_teachers:
            scores.update(heads.named_scores(TEACHER_HEADS, heads.run_teachers(step.inputs, step.data_samples)))
        if heads.task.has_accuracy:
            return heads.accuracies(scores, step.data_samples)
        names = [point.name for point in heads.points]
        pairs = {name: [scores[f'{whose}/{name}'] for whose in (STUDENT_HEADS, TEACHER_HEADS)] for name in names}
        return {f'soft_{name}': self.loss(*pair) for name, pair in pairs.items()}
