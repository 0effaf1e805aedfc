"""What losses between two classifiers' scores share."""

from typing import Any, ClassVar

from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.losses.class_scores import ClassScores
from mmkd.losses.common import check_above_zero, check_given, check_weight, exact, times
from mmkd.utils.autocast import without_autocast


class ScoreLoss(nn.Module):
    """A distance between the scores (N, classes) of a student and of its teacher before any softmax.

    Everything is computed in float32 at least, under autocast too, and no gradient reaches the teacher. A subclass
    defines ``compare``. ``needs`` names the keyword arguments of each call, as :class:`.FeatureLoss` does.

    Args:
        tau (float): The temperature, a finite number above 0.
        loss_weight (float): A finite number that is not negative.
        standardise (bool): Standardise each image's scores first, by their mean and deviation over the classes (logit
            standardisation, Sun et al., arXiv 2403.01427). Gradients go through both.
    """

    compares = 'scores'
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tau: float, loss_weight: float, standardise: bool = False):
        super().__init__()
        self.tau = check_above_zero(self.name, 'tau', tau)
        self.loss_weight = check_weight(self.name, 'loss_weight', loss_weight)
        self.standardise = standardise

    @property
    def name(self) -> str:
        """In messages."""
        return type(self).__name__

    def forward(self, student: Tensor | ClassScores, teacher: Tensor | ClassScores, **given: Any) -> Tensor:
        """The loss of two networks' scores, as a scalar."""
        student, teacher = (self.of_detector(x) if isinstance(x, ClassScores) else x for x in (student, teacher))
        check_given(self.name, self.needs, given)
        if student.shape != teacher.shape:
            raise UserError(
                f"{self.name}: the student's scores of shape {tuple(student.shape)} and the teacher's of shape "
                f'{tuple(teacher.shape)} differ; both must score the same classes.'
            )
        with without_autocast(student):
            own, target = exact(student), exact(teacher.detach())
            if self.standardise:
                own, target = standardised(own), standardised(target)
            return times(self.loss_weight, self.compare(own, target, **given))

    def of_detector(self, scores: ClassScores) -> Tensor:
        """A detector's scores as those of a classifier, or an error."""
        raise UserError(f'{self.name}: it compares the scores of classifiers; for detectors take mmkd.ClassScoreLoss.')

    def compare(self, student: Tensor, teacher: Tensor, *args: Any, **given: Any) -> Tensor:
        """The distance, without its weight."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        more = ', standardise=True' if self.standardise else ''
        return f'tau={self.tau}, loss_weight={self.loss_weight}{more}'


class LabelledScoreLoss(ScoreLoss):
    """One that needs a label for each row, which a detector's own loss tells of its proposals."""

    needs = ('labels',)

    def of_detector(self, scores: ClassScores) -> Tensor:
        """Of heads that choose one class of all, the background among them."""
        if scores.sigmoid:
            raise UserError(
                f'{self.name}: it compares a choice of one class, and these heads say yes or no for each class; for '
                'detectors take mmkd.ClassScoreLoss or mmkd.DISTLoss.'
            )
        return scores.logits


def standardised(scores: Tensor) -> Tensor:
    """Each image's scores with mean 0 and deviation 1 over the classes."""
    return (scores - scores.mean(1, keepdim=True)) / (scores.std(1, keepdim=True) + 1e-7)


def check_labels(loss: str, labels: Tensor, scores: Tensor) -> Tensor:
    """One class an image, or an error."""
    if labels.shape != scores.shape[:1]:
        raise UserError(
            f'{loss}: it needs one label for each image; the labels have the shape {tuple(labels.shape)} and the '
            f'scores {tuple(scores.shape)}: leave out augmentations that mix labels, such as Mixup and CutMix.'
        )
    return labels
