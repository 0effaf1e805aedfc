"""Class scores and features of a classifier out of one forward."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmkd.dry_run import unchanged
from mmkd.errors import UserError
from mmkd.prefix import End, Feature, feature_of, recording
from mmkd.stages import Stage

HEAD = End('head')


@dataclass(frozen=True)
class Outcome:
    """What one forward of a classifier gave.

    Args:
        losses: The student's own, none of the teacher.
        scores: Of the classes, before the softmax.
        features: Of the stages asked for.
    """

    losses: dict
    scores: Tensor
    features: list[Feature]


def student_outcome(
    student: nn.Module, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
) -> Outcome:
    """The student's own losses times a weight, its scores and features; without weight no losses are computed."""
    with recording(student, [*stages, HEAD]) as outputs:
        losses = student.loss(inputs, data_samples) if weight else {}  # type: ignore[operator]
        if not weight:
            student(inputs, mode='tensor')
    # The sum of all terms is called loss, so the student's own term cannot be; accuracies are among them, too.
    losses = {
        'loss_own' if name == 'loss' else name: weight * value if 'loss' in name else value
        for name, value in losses.items()
    }
    return Outcome(losses, outputs[HEAD.end], [feature_of(outputs[stage.end], len(inputs)) for stage in stages])


@torch.no_grad()
def teacher_outcome(teacher: nn.Module, inputs: Tensor, stages: Sequence[Stage] = ()) -> Outcome:
    """The teacher's scores and features."""
    with recording(teacher, stages) as outputs:
        scores = teacher(inputs, mode='tensor')
    return Outcome({}, scores, [feature_of(outputs[stage.end], len(inputs)) for stage in stages])


def own_loss(student: nn.Module, scores: Tensor, data_samples: list | None) -> Tensor:
    """The loss in the student's config of other scores: soft labels and label smoothing included."""
    losses = student.head._get_loss(scores, data_samples)  # type: ignore[union-attr,operator]
    return torch.stack([value for name, value in losses.items() if 'loss' in name]).sum()


def count_classes(student: tuple[nn.Module, Tensor], teacher: tuple[nn.Module, Tensor]) -> int:
    """The number of classes, or an error where the scores of two networks on their inputs cannot be compared."""
    counts = []
    for key, (network, inputs) in dict(student=student, teacher=teacher).items():
        head = getattr(network, 'head', None)
        kinds = {kind.__name__ for kind in type(head).__mro__}
        if 'ClsHead' not in kinds or 'RegressionHead' in kinds:
            what = f'a {type(network if head is None else head).__name__}'
            raise UserError(
                f'model.{key}: {what} does not choose one of several classes for an image, and this method compares '
                'such choices; use mmkd.SSKD, which compares features.'
            )
        with torch.no_grad(), unchanged(network):
            network.eval()
            scores = network(inputs, mode='tensor')
        if not isinstance(scores, Tensor):
            raise UserError(
                f'model.{key}: its {type(head).__name__} puts out several scores an image, and this method compares '
                'one; use mmkd.SSKD, which compares features.'
            )
        counts.append(scores.shape[1])
    if counts[0] != counts[1]:
        raise UserError(
            f'model.teacher: it knows {counts[1]} classes, the student {counts[0]}, so their scores cannot be '
            'compared; take a teacher of the same classes, or mmkd.SSKD, which compares features.'
        )
    return counts[0]


def check_taught(gamma: float, alpha: float) -> None:
    """Refuse weights that leave the student's own head without any loss."""
    if not gamma and not alpha:
        raise UserError("model.gamma and model.alpha: both are 0, so nothing teaches the student's head; raise one.")


def check_weight(key: str, value: float, most: float = float('inf')) -> float:
    """A weight as it is, or an error."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value == float('inf'):
        limits = 'a finite number of 0 or more' if most == float('inf') else f'a number from 0 to {most:g}'
        raise UserError(f'{key} must be {limits}, not {value!r}.')
    return value
