"""Auxiliary heads on the stages of both networks; they are part of the extras."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.adapters import module_key
from mmkd.features.capture import Feature
from mmkd.heads import load_heads
from mmkd.objectives.networks import Networks
from mmkd.objectives.options import check_dict
from mmkd.stages.attachment import Attachment, attach_points
from mmkd.stages.phases import Phase
from mmkd.stages.plan import Stage
from mmkd.tasks import Scores
from mmkd.tasks.base import Task
from mmkd.utils.random_state import own_randomness

STUDENT_HEADS, TEACHER_HEADS = 'student_heads', 'teacher_heads'


@dataclass(frozen=True)
class HeadOutput:
    """The outputs of heads."""

    head: nn.Module
    output: Any


Outputs = dict[str, HeadOutput]  # by place


class AuxiliaryHeads:
    """Auxiliary heads: where they are, and their outputs.

    Args:
        networks: The student, its teacher and the extras.
        task: Of both networks.
        cfg (dict, optional): A head. Defaults to the task's.
        attach (Sequence, optional): Where they sit. Defaults to the task's places.
        file (str, optional): Trained heads of the teacher.
    """

    classes: int  # how many classes they score
    points: Sequence[Attachment] = ()  # their places; none without a weight
    taught = False  # whether the student's learn from heads of the teacher
    learn_along = False  # whether the teacher's learn together with the student

    def __init__(
        self,
        networks: Networks,
        task: Task,
        cfg: dict | None = None,
        attach: Sequence | None = None,
        file: str | None = None,
    ):
        self.networks, self.task = networks, task
        self.cfg = check_dict('model.heads', cfg or task.heads)
        self.attach, self.file = attach, file

    def find_points(self, inputs: Tensor) -> list[Attachment]:
        """Where the options, or the task, put heads; with a preprocessed batch."""
        networks = self.networks
        both = networks.padded_for_both(inputs)
        student = networks.student, both
        teacher = networks.teacher.network, networks.teacher_inputs(both)
        with own_randomness():
            wanted = self.task.places(networks.plan) if self.attach is None else self.attach
            return attach_points(wanted, networks.plan, networks.teacher_stages, student, teacher)

    def sit_on(self, points: Sequence[Attachment]) -> None:
        """Take these places, if heads can be compared there."""
        self.points = points
        self.networks.check_cut(point.teacher for point in points)
        for point in points:
            self.task.check_place(point)

    @property
    def student_stages(self) -> list[Stage]:
        """The student's stages that have heads."""
        return [point.student for point in self.points]

    @property
    def teacher_stages(self) -> list[Stage]:
        """The teacher's stages that have heads."""
        return [point.teacher for point in self.points] if self.has_teachers else []

    @property
    def has_teachers(self) -> bool:
        """Whether a loss reads heads of the teacher."""
        return bool(self.points) and self.taught

    def build(self, phases: Sequence[Phase]) -> None:
        """Build the heads that a run of these phases needs."""
        head = self.networks.plan.head.name
        learns_head = [head in phase for phase in phases]
        learns_teacher = [TEACHER_HEADS in phase for phase in phases]
        if any(TEACHER_HEADS in phase and len(phase) > 1 for phase in phases):
            raise UserError(
                f'default_hooks.stages.stages: {TEACHER_HEADS} learn in a phase of their own; name them alone.'
            )
        with own_randomness():
            if any(learns_head):
                self._build(STUDENT_HEADS, {point.name: point.student for point in self.points})
            if self.has_teachers:
                self._build(TEACHER_HEADS, {point.name: point.teacher for point in self.points})
        if self.file and self.has_teachers:
            load_heads(self.networks.extras[TEACHER_HEADS], self.file)
        if self.points:
            places = ', '.join(f'{p.name} (student {p.student.end}, teacher {p.teacher.end})' for p in self.points)
            print_log(f'Auxiliary heads on {places}', logger='current')
        self.learn_along = self.has_teachers and not self.file and not any(learns_teacher)
        if any(learns_head) and any(learns_teacher) and learns_head.index(True) <= learns_teacher.index(True):
            raise UserError(f'default_hooks.stages.stages: {TEACHER_HEADS} teach the student, so they must come first.')

    def _build(self, whose: str, stages: dict[str, Stage]) -> None:
        heads = {module_key(n): self.task.build_head(self.cfg, stage, self.classes) for n, stage in stages.items()}
        if heads:
            device = next(self.networks.student.parameters()).device
            self.networks.extras[whose] = nn.ModuleDict(heads).to(device)

    def outputs(self, whose: str, features: Sequence[Feature]) -> Outputs:
        """The outputs of all heads of a network."""
        if whose not in self.networks.extras:
            return {}
        heads = dict(self.networks.extras[whose].named_children())
        pairs = ((point.name, heads[module_key(point.name)], f) for point, f in zip(self.points, features))
        return {name: HeadOutput(head, head(feature)) for name, head, feature in pairs}

    def run_teachers(self, inputs: Tensor, data_samples: list | None) -> Outputs:
        """The outputs of the teacher's heads; the teacher runs no further than the last of them."""
        stages = [point.teacher for point in self.points]
        return self.outputs(TEACHER_HEADS, self.networks.run_teacher(stages, inputs, data_samples))

    def scores(self, output: HeadOutput) -> Scores:
        """The class scores in a head's output."""
        return self.task.scores(output.head, output.output)

    def own_loss(self, output: HeadOutput, data_samples: list | None) -> Tensor:
        """The student's own loss for a head's output."""
        return self.task.own_loss(output.head, output.output, data_samples)

    def teacher_losses(self, outputs: Outputs, data_samples: list | None) -> dict:
        """The losses that train the teacher's heads."""
        return {f'loss_teacher_{name}': self.own_loss(output, data_samples) for name, output in outputs.items()}

    def named_scores(self, whose: str, outputs: Outputs) -> dict[str, Scores]:
        """The class scores of a network's heads, by the names of their measures."""
        return {f'{whose}/{name}': self.scores(output) for name, output in outputs.items()}

    def accuracies(self, scores: dict[str, Scores], data_samples: list | None) -> dict[str, Tensor]:
        """The accuracy of each head."""
        assert data_samples is not None
        return {name: self.task.accuracy(its, data_samples) for name, its in scores.items()}
