"""The interface of a term: a loss beside the student's own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmkd.features.capture import Feature
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.term_options import When
from mmkd.stages.phases import Phase
from mmkd.stages.plan import Stage
from mmkd.tasks import Scores


@dataclass(frozen=True)
class Seen:
    """The outputs of one forward of a network.

    Args:
        scores: Of the classes; None if no term asked for them.
        features: By the path of the module that ends a stage.
        labels: The class of each row of scores, where the student's own loss tells.
        predictions: Of a detector's dense head; None if no term asked for them.
    """

    scores: Scores | None
    features: dict[str, Feature]
    labels: Tensor | None = None
    predictions: Any = None

    def of(self, stages: Sequence[Stage]) -> list[Feature]:
        """The features at the ends of these stages."""
        return [self.features[stage.end] for stage in stages]


class Term(ABC):
    """A loss beside the student's own, computed from what the same forward of both networks puts out.

    Args:
        networks: The student, its teacher and the extras.
    """

    when = When()  # the part of a phase in which it acts

    def __init__(self, networks: Networks):
        self.networks = networks

    @abstractmethod
    def acts_in(self, phase: Phase) -> bool:
        """Whether it acts in a phase, or in a part of it."""

    def acts_at(self, step: Step) -> bool:
        """Whether it is computed in this iteration; otherwise nothing runs for it. Default: in the whole phase."""
        return self.acts_in(step.phase)

    def choices(self, phase: Phase, progress: float) -> tuple:
        """Whatever else determines its losses at this point of the phase: the share of its weight, which may grow."""
        return (self.when.share(progress),)

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """Paths of the modules of the student and of the teacher whose output it may read."""
        return set(), set()

    @property
    def needs_teacher_scores(self) -> bool:
        """Whether it reads the scores of the teacher's own head."""
        return False

    def prepare(self, inputs: Tensor) -> None:  # noqa: B027
        """Check the options with a preprocessed batch, once the stages are known."""

    def build_extras(self, phases: Sequence[Phase]) -> None:  # noqa: B027
        """Build the extras that it needs in a run of these phases."""

    def student_stages(self, phase: Phase) -> list[Stage]:
        """The stages of the student whose features it reads."""
        return []

    def teacher_stages(self, phase: Phase) -> list[Stage]:
        """The stages of the teacher whose features it reads."""
        return []

    @abstractmethod
    def losses(self, step: Step, student: Seen, teacher: Seen) -> dict[str, Tensor]:
        """The losses by the names under which they are logged."""

    @abstractmethod
    def learns_from_images(self, phase: Phase) -> bool:
        """Whether one of its losses needs no labels."""

    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """Its adapters or heads that learn along."""
        return []

    def trained_losses(self, phase: Phase) -> list[nn.Module]:
        """Its losses, which may have parameters."""
        return []

    def measures(self, phase: Phase) -> bool:
        """Whether :meth:`measure` supports the phase."""
        return False

    def measure(self, step: Step) -> dict[str, Tensor]:
        """Measures of what it teaches, averaged over a validation batch."""
        return {}
