"""Tries an inherited head on a batch: the student's scores against the teacher's for the same features."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmkd.errors import in_one_line
from mmkd.features.adapters import module_key
from mmkd.features.capture import Feature, StageEnd, replaced, run_to, tensors_in
from mmkd.heads.inherited import CannotInherit
from mmkd.objectives.networks import Networks
from mmkd.utils.random_state import own_randomness

if TYPE_CHECKING:
    from mmkd.distillers.base import Distiller

_TOLERANCE = 1e-3  # relative to the largest score

Scores = list[tuple[Tensor, Tensor]]  # the student's scores, and the expected ones


def scores_of_both(distiller: 'Distiller', inputs: Tensor, rows: Sequence[int] | None) -> Scores:
    """Both networks' scores for the student's classes, in full precision, as in validation."""
    was_training = distiller.training
    distiller.eval()
    try:
        with torch.no_grad(), own_randomness(), torch.autocast(inputs.device.type, enabled=False):
            scores, wanted = _of_both(distiller.networks, inputs)
    except Exception as error:  # two-stage detectors score proposals, which need more than images
        raise CannotInherit(f'scores cannot be computed from the images alone ({in_one_line(error)})') from error
    finally:
        distiller.train(was_training)
    if rows is not None:
        lengths = len(rows), len(distiller.teacher.classes)
        wanted = [want[:, rows] if (s.shape[1], want.shape[1]) == lengths else want for s, want in zip(scores, wanted)]
    if [score.shape for score in scores] != [want.shape for want in wanted]:
        raise CannotInherit("with it the scores differ from the teacher's for the same features")
    return list(zip(scores, wanted))


def _of_both(networks: Networks, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The student's scores, and the teacher's for the student's adapted features."""
    stages, teacher_stages, teacher = networks.plan.stages, networks.teacher_stages, networks.teacher
    theirs = networks.teacher_inputs(inputs)
    targets = teacher.run_to([*teacher_stages.values()], theirs)
    adapted: dict[StageEnd, Feature] = {}
    for stage, feature, target in zip(stages, run_to(networks.student, stages, inputs), targets):
        if module_key(stage.name) in networks.extras:
            adapted[teacher_stages[stage.name]] = networks.extras[module_key(stage.name)](feature, target)
    with replaced(teacher.network, adapted):
        wanted = tensors_in(teacher.network(theirs, mode='tensor'))
    return tensors_in(networks.student(inputs, mode='tensor')), wanted


def border_of(scores: Scores, padded: bool) -> int:
    """How far from the border of their maps the scores differ; the largest maps tell, smaller ones must not contradict.

    Only a ``padded`` convolution of a multiplied feature may differ there.
    """
    if all(_same(*pair) for pair in scores):
        return 0
    if not padded or any(score.ndim != 4 for score, _ in scores):
        raise CannotInherit("with it the scores differ from the teacher's for the same features")
    side = max(min(score.shape[2:]) for score, _ in scores)
    for border in range(1, (side + 1) // 2):
        inner = [pair for pair in scores if min(pair[0].shape[2:]) > 2 * border]
        largest = [pair for pair in inner if min(pair[0].shape[2:]) == side]
        if all(_same(*pair, border) for pair in largest):
            if all(_same(*pair, border) for pair in inner):
                return border
            break
    raise CannotInherit(
        "the maps between the features do not turn the student's padded zeros into zeros, and this reaches all scores: "
        'the training images are too small, or a norm or pooling spreads it'
    )


def _same(score: Tensor, want: Tensor, border: int = 0) -> bool:
    difference = score - want
    if border:
        difference = difference[..., border:-border, border:-border]
    return bool(difference.abs().max() <= _TOLERANCE * want.abs().max())


def inner_part(scores: Scores, border: int) -> float:
    """The part of all maps that lies within the border."""
    sizes = [score.shape[2:] for score, _ in scores]
    inner = sum(max(height - 2 * border, 0) * max(width - 2 * border, 0) for height, width in sizes)
    return inner / sum(height * width for height, width in sizes)
