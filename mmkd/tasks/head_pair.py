"""How the own heads of two detectors are compared: the interface."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from mmkd.features.capture import StageEnd
from mmkd.features.padding import Padded
from mmkd.losses import ClassScores

LEAVE_OUT = 'set model.alpha=0 to leave the soft loss between the own heads out'


class HeadPair(Protocol):
    """How the own heads of two detectors are compared."""

    needs_proposals: bool  # of the student, for the teacher to score
    example: ClassScores  # of a few places, once they are checked

    def check(self, student: nn.Module, inputs: Padded, teacher: nn.Module, teacher_inputs: Padded) -> None:
        """Raise an error for heads that score different places."""

    def ends(self, student: nn.Module) -> Sequence[StageEnd]:
        """The module outputs to record in the student's own forward."""

    def class_losses(self, student: nn.Module) -> Sequence[str]:
        """Paths of the modules that compute the student's own class loss."""

    def run_student(self, student: nn.Module, inputs: Tensor, data_samples: list | None) -> None:
        """Run the student up to its scores, without ground truth."""

    def of_student(self, student: nn.Module, outputs: dict[str, Any]) -> tuple[ClassScores, Sequence[Tensor]]:
        """The student's scores and the proposals that they belong to."""

    def of_teacher(self, teacher: nn.Module, pyramid: Sequence[Tensor], proposals: Sequence[Tensor]) -> ClassScores:
        """The teacher's scores of the same places."""
