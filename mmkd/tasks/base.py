"""The interface for everything that depends on the networks' task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from mmkd.features.capture import Feature
from mmkd.losses import ClassScores
from mmkd.losses.common import times
from mmkd.stages.attachment import Attachment
from mmkd.stages.plan import Stage, StagePlan
from mmkd.teacher.network import Teacher

T = TypeVar('T')

Scores = Tensor | ClassScores
"""Of a classifier (images, classes), or of a detector."""


@dataclass(frozen=True)
class Outcome:
    """The results of one forward of a network.

    Args:
        losses: The student's own; empty for the teacher.
        scores: Of the classes, before softmax or sigmoid; None if not requested.
        features: Of the stages asked for.
        labels: The class of each row of scores, where the student's own loss of it tells.
        predictions: What a detector's dense head says of all places, if requested; see
            :class:`mmkd.tasks.predictions.Predictions`.
    """

    losses: dict
    scores: Scores | None
    features: list[Feature]
    labels: Tensor | None = None
    predictions: Any = None


class Task(ABC):
    """Everything that depends on the task of a network, above all class scores and ground truth.

    A new task is one subclass, registered by :func:`mmkd.tasks.register_task`.

    Args:
        student: The network that learns.
        teacher: Holds the teacher network.
    """

    parts: ClassVar[tuple[str, ...]]  # names of a network's children that compute scores; they determine the task
    gamma: ClassVar[float]  # the default weight of the student's own losses
    alpha: ClassVar[float]  # the default weight of the soft loss
    ce_share: ClassVar[float]  # the default share of the own loss in an auxiliary head's
    heads: ClassVar[dict]  # the default auxiliary head
    soft_loss: ClassVar[dict]  # the default distance of scores
    has_accuracy: ClassVar[bool]  # whether a head's accuracy can be computed
    tells_labels = False  # whether the student's outcome can have the class of each row of scores
    labels_wanted = False  # whether it must

    def __init__(self, student: nn.Module, teacher: Teacher):
        self.student = student
        self.teacher = teacher

    @classmethod
    def parts_of(cls, network: nn.Module) -> list[str]:
        """The network's children that compute scores."""
        return [part for part in cls.parts if isinstance(getattr(network, part, None), nn.Module)]

    @classmethod  # noqa: B027
    def check_sample(cls, student: nn.Module, sample: Any) -> None:
        """Raise an error for a sample without the ground truth that the student's head needs."""

    @classmethod  # noqa: B027
    def as_in_training(cls, sample: Any) -> None:
        """Change a sample as the toolbox does before the loss; the default changes nothing."""

    @classmethod
    def num_classes(cls, network: nn.Module) -> int | None:
        """The number of classes of a network's last own head, None if it does not classify."""
        return next((getattr(getattr(network, part), 'num_classes', None) for part in cls.parts_of(network)), None)

    def run_both(self, student: Callable[[], Outcome], teacher: Callable[[Outcome | None], T]) -> tuple[Outcome, T]:
        """Run the teacher first, while no activations of the student are stored for its gradient.

        Args:
            student: Runs the student.
            teacher: Runs the teacher; gets the student's outcome where the student must run first.
        """
        theirs = teacher(None)
        return student(), theirs

    def check_options(self, gamma: float, ce_share: float = 1.0, target: str = 'heads') -> None:  # noqa: B027
        """Raise an error for options that this task does not support; by default none."""

    @abstractmethod
    def check(self, inputs: Tensor, teacher_inputs: Tensor, own_scores: bool) -> int:
        """The number of classes, or an error where the scores of the two networks cannot be compared.

        Args:
            inputs: A batch as the student gets it.
            teacher_inputs: The same, normalised for the teacher and not yet padded further.
            own_scores: Whether those of the networks' own heads are to be compared.
        """

    def example_scores(self, own: bool = True) -> Scores | None:
        """A few scores, once they are checked, for a loss to be tried on; None if there are none.

        Args:
            own: Of the student's own head; else of auxiliary heads.
        """
        return None

    @abstractmethod
    def places(self, plan: StagePlan) -> list[str]:
        """The default stages for auxiliary heads."""

    def check_place(self, place: Attachment) -> None:  # noqa: B027
        """Raise an error for a stage whose heads cannot be compared; by default all can."""

    @abstractmethod
    def build_head(self, cfg: dict, stage: Stage, num_classes: int) -> nn.Module:
        """Build an auxiliary head that fits its stage."""

    @abstractmethod
    def student_outcome(
        self, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
    ) -> Outcome:
        """The student's own losses times a weight, its scores and features; a weight of 0 computes no losses."""

    @abstractmethod
    def teacher_outcome(self, inputs: Tensor, student: Outcome | None = None, stages: Sequence[Stage] = ()) -> Outcome:
        """The teacher's scores and features on its own inputs, without gradient; see :meth:`run_both`."""

    @abstractmethod
    def scores(self, head: nn.Module, output: Any) -> Scores:
        """The class scores in an auxiliary head's output."""

    @abstractmethod
    def own_loss(self, head: nn.Module, output: Any, data_samples: list | None) -> Tensor:
        """The loss of an auxiliary head's output against the ground truth."""

    def accuracy(self, scores: Scores, data_samples: list) -> Tensor:
        """The accuracy in percent; called where ``has_accuracy``."""
        raise NotImplementedError


def weighted(losses: dict, weight: float) -> dict:
    """The student's own losses times a weight; values that are only logged stay."""
    return {name: _all_times(weight, value) if 'loss' in name else value for name, value in losses.items()}


def _all_times(weight: float, value: Any) -> Any:
    return times(weight, value) if isinstance(value, Tensor) else [times(weight, part) for part in value]


def total(losses: dict) -> Tensor:
    """The sum of all losses, as mmengine makes it."""
    terms = [value for name, value in losses.items() if 'loss' in name]
    return torch.stack([part.mean() for term in terms for part in ([term] if isinstance(term, Tensor) else term)]).sum()
