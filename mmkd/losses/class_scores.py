"""The distance of a detector's class scores to its teacher's."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.losses.common import check_above_zero, check_weight
from mmkd.registry import MODELS
from mmkd.utils.autocast import without_autocast


@dataclass(frozen=True)
class ClassScores:
    """Scores before sigmoid or softmax, a row for each place: an anchor, a point, a proposal.

    Args:
        logits: (places, classes).
        sigmoid: Classes are independent; otherwise they exclude each other and the last is the background.
        objectness: (places,), where a head scores apart whether there is an object at all. Then the classes' scores
            say which one, if any.
    """

    logits: Tensor
    sigmoid: bool
    objectness: Tensor | None = None

    def first(self, count: int) -> 'ClassScores':
        """Those of the first places."""
        few = None if self.objectness is None else self.objectness[:count]
        return ClassScores(self.logits[:count], self.sigmoid, few)

    def confidence(self) -> Tensor:
        """How sure it is of an object at each place, from 0 to 1."""
        logits = self.logits.float()
        if not self.sigmoid:
            return 1 - logits.softmax(1)[:, -1]
        confidence = logits.amax(1).sigmoid()
        return confidence if self.objectness is None else confidence * self.objectness.float().sigmoid()


@MODELS.register_module()
class ClassScoreLoss(nn.Module):
    """The divergence KL(teacher || student) of two detectors' class scores at the same places.

    At each place it is summed over the classes: that of the softmax where the classes exclude each other, that of each
    class's yes or no otherwise. Where a head scores objectness apart, its divergence is added, and that of the classes
    counts as much as the teacher believes in an object: the divergence of the two scores taken together.

    Most places hold nothing. So the sum over the places is not divided by their number but by the teacher's confidence
    in objects, summed over the places (1 at least), as detectors divide their own losses by the number of objects'
    places. Computed in float32, under autocast too; no gradient reaches the teacher.

    Args:
        tau (float): The temperature, above 0: scores are divided by it, the loss is multiplied by its square. Defaults
            to 1.0; a higher one makes every sigmoid of the background a half.
        by_confidence (bool): Weigh each place by the teacher's confidence in an object there, so that the background
            counts for little. Defaults to False.
        loss_weight (float): A finite number that is not negative. Defaults to 1.0.

    Example:
        >>> dict(type='mmkd.ClassScoreLoss', by_confidence=True)
    """

    compares = 'scores'

    def __init__(self, tau: float = 1.0, by_confidence: bool = False, loss_weight: float = 1.0):
        super().__init__()
        self.tau = check_above_zero('ClassScoreLoss', 'tau', tau)
        self.by_confidence = by_confidence
        self.loss_weight = check_weight('ClassScoreLoss', 'loss_weight', loss_weight)

    def forward(self, student: ClassScores, teacher: ClassScores) -> Tensor:
        """The loss as a scalar."""
        if not isinstance(student, ClassScores):
            raise UserError(
                'ClassScoreLoss: it compares the scores of detectors; for classifiers take mmkd.SoftTargetLoss.'
            )
        if student.logits.shape != teacher.logits.shape or student.sigmoid != teacher.sigmoid:
            raise UserError(
                f"ClassScoreLoss: the student's scores of shape {tuple(student.logits.shape)} and the teacher's of "
                f'shape {tuple(teacher.logits.shape)} differ; both must score the same places in the same way.'
            )
        with without_autocast(student.logits):
            with torch.no_grad():
                confidence = teacher.confidence()
            divergence = self._divergence(student, teacher)
            if self.by_confidence:
                divergence = divergence * confidence
            return self.loss_weight * self.tau**2 * divergence.sum() / confidence.sum().clamp(min=1)

    def _divergence(self, student: ClassScores, teacher: ClassScores) -> Tensor:
        """The divergence at each place."""
        own, theirs = student.logits.float() / self.tau, teacher.logits.detach().float() / self.tau
        if not student.sigmoid:
            return F.kl_div(own.log_softmax(1), theirs.log_softmax(1), reduction='none', log_target=True).sum(1)
        classes = _binary_divergence(own, theirs).sum(1)
        if student.objectness is None or teacher.objectness is None:
            return classes
        objectness = teacher.objectness.detach().float()
        return objectness.sigmoid() * classes + _binary_divergence(
            student.objectness.float() / self.tau, objectness / self.tau
        )

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f'tau={self.tau}, by_confidence={self.by_confidence}, loss_weight={self.loss_weight}'


def _binary_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """The binary divergence from logits: the cross entropy minus the teacher's entropy."""
    target = teacher.sigmoid()
    cross, own = (F.binary_cross_entropy_with_logits(z, target, reduction='none') for z in (student, teacher))
    return cross - own
