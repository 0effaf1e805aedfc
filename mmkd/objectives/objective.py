"""The interface of an objective: what is learned in a phase."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from mmkd.objectives.networks import Networks
from mmkd.stages.phases import Phase


@dataclass(frozen=True)
class Step:
    """One iteration of a phase.

    Args:
        phase: Names of what is learned in it.
        inputs: A preprocessed batch.
        data_samples: Its ground truth.
        progress: The part of the phase that is done.
        labelled: Whether losses that need labels are wanted.
    """

    phase: Phase
    inputs: Tensor
    data_samples: list | None
    progress: float = 0.0
    labelled: bool = True


class Objective(ABC):
    """What is learned in the phases that it takes: its losses, the extras that learn along, and its measure.

    It does not know which phase it is; each method is told.

    Args:
        networks: The student, its teacher and the extras.
    """

    needs_labels: bool  # whether one of its losses reads class scores

    def __init__(self, networks: Networks):
        self.networks = networks

    @property
    def teachable(self) -> tuple[str, ...]:
        """The names of stages or extras that it can teach without the head."""
        return ()

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The paths of the student's and the teacher's modules whose output it reads."""
        return set(), set()

    @abstractmethod
    def takes(self, phase: Phase) -> bool:
        """Whether it takes this phase; a distiller asks its objectives in order."""

    def prepare(self, inputs: Tensor) -> None:  # noqa: B027
        """Check the options with a preprocessed batch, once the stages are known."""

    def build_extras(self, phases: Sequence[Phase]) -> None:  # noqa: B027
        """Build the extras that it needs in a run of these phases."""

    @abstractmethod
    def losses(self, step: Step) -> dict:
        """The losses by the names under which they are logged."""

    def choices(self, phase: Phase, progress: float) -> tuple:
        """Whatever else determines which losses an iteration has at this point of the phase."""
        return ()

    @abstractmethod
    def learns_from_images(self, phase: Phase) -> bool:
        """Whether one of its losses needs no labels."""

    @abstractmethod
    def trained_extras(self, phase: Phase) -> list[nn.Module]:
        """The modules in the extras that learn along."""

    def steep(self, phase: Phase) -> Phase:
        """The stages of the phase for which gradients are clipped, where the config says nothing of it."""
        return ()

    def measures(self, phase: Phase) -> bool:
        """Whether :meth:`measure` supports the phase."""
        return False

    def measure(self, step: Step) -> dict[str, Tensor]:
        """Measures of what is learned, averaged over a validation batch."""
        return {}
