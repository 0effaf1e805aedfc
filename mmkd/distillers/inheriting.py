"""What a student inherits from its teacher: the neck at the start, the head when all features are learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmkd.errors import in_one_line
from mmkd.features.adapters import module_key
from mmkd.features.capture import Feature, StageEnd, replaced, run_to, tensors_in
from mmkd.features.least_squares import LeastSquares
from mmkd.heads.inherited import CannotInherit, class_rows, folded, inherit, state_of
from mmkd.objectives.networks import Networks
from mmkd.stages.pairing import in_neck
from mmkd.teacher.pretrained import names_weights
from mmkd.utils.random_state import own_randomness

if TYPE_CHECKING:
    from mmkd.distillers.base import Distiller

_TOLERANCE = 1e-3  # relative to the largest score

Scores = list[tuple[Tensor, Tensor]]  # the student's scores, and the expected ones


class Inheritance:
    """Copies the teacher's neck and head to the student where that is exact.

    Args:
        distiller: Has both networks, and the adapters between their features.
        wanted: Whether the user wants it.
    """

    def __init__(self, distiller: 'Distiller', wanted: bool):
        self.distiller, self.wanted = distiller, wanted

    def remember(self) -> None:
        """Keep the teacher's weights before its batch norms are folded; comes after the stages are found."""
        networks = self.distiller.networks
        last = networks.teacher_stages[networks.plan.stages[-1].name]
        self.teacher_neck, self.teacher_head = (
            state_of(networks.teacher.network, stage) for stage in (last, networks.teacher_head)
        )

    def neck(self) -> str:
        """Copy the teacher's neck to the student if both are alike, and return a sentence about it; ``''`` otherwise.

        It does so if its own config freezes some of it or names weights for it.
        """
        if not self.wanted:
            return ''
        networks = self.distiller.networks
        stage, student, teacher = networks.plan.stages[-1], networks.student, networks.teacher.network
        if not in_neck(stage) or not in_neck(networks.teacher_stages[stage.name]):
            return ''
        neck = student.get_submodule('neck')
        if type(neck) is not type(teacher.get_submodule('neck')) or not set(stage.parameters) <= networks.trainable:
            return ''
        if names_weights('model.student', student) or names_weights('model.student.neck', neck):
            return ''
        try:
            taken = inherit(state_of(student, stage), self.teacher_neck, [], None)
        except CannotInherit:
            return ''
        student.load_state_dict(taken, strict=False)
        return "The student's neck begins as the teacher's."

    def head(self, inputs: Tensor, classes: Sequence[str]) -> str:
        """Copy the teacher's head to the student, and return a sentence about it.

        It is tried on a batch: the student's scores must be those that the teacher makes of the adapted features.

        Args:
            inputs: A preprocessed batch.
            classes: The names of the student's classes, if its data tell.

        Raises:
            CannotInherit: It would not be exact; the student has its own head.
        """
        if not self.wanted:
            return ''
        networks = self.distiller.networks
        own = state_of(networks.student, networks.plan.head)
        maps = [module for module in networks.extras.modules() if isinstance(module, LeastSquares)]
        rows = class_rows(classes, networks.teacher.classes)
        networks.student.load_state_dict(inherit(own, self.teacher_head, maps, rows), strict=False)
        multiplied = folded(own, self.teacher_head)
        try:
            scores = _tried(self.distiller, inputs, rows)
            border = _border(scores, padded=any(max(kernel, default=1) > 1 for kernel in multiplied))
        except CannotInherit:
            networks.student.load_state_dict(own, strict=False)
            raise
        said = "The student's head is now the teacher's"
        if multiplied:
            said += ', times the maps between their features'
        if border:
            said += (
                f', in the inner {_inner_part(scores, border):.0%} of the maps; within {border} of their border the '
                "scores differ, since zeros pad the student's feature there, which the maps do not make zeros of the "
                "teacher's"
            )
        return f'{said}.'

    def reads_one_map(self) -> bool:
        """Whether the head could be inherited if all levels of the last feature shared one map."""
        if not self.wanted:
            return False
        networks = self.distiller.networks
        stage = networks.plan.stages[-1]
        own, theirs = stage.shapes, networks.teacher_stages[stage.name].shapes
        one = LeastSquares(own[0][0], theirs[0][0])
        try:
            inherit(state_of(networks.student, networks.plan.head), self.teacher_head, [one], None)
        except CannotInherit:
            return False
        return True


def _tried(distiller: 'Distiller', inputs: Tensor, rows: Sequence[int] | None) -> Scores:
    """Both networks' scores for the student's classes, in full precision, as in validation."""
    was_training = distiller.training
    distiller.eval()
    try:
        with torch.no_grad(), own_randomness(), torch.autocast(inputs.device.type, enabled=False):
            scores, wanted = _scores_of_both(distiller.networks, inputs)
    except Exception as error:  # two-stage detectors score proposals, which need more than images
        raise CannotInherit(f'scores cannot be computed from the images alone ({in_one_line(error)})') from error
    finally:
        distiller.train(was_training)
    if rows is not None:
        lengths = len(rows), len(distiller.teacher.classes)
        wanted = [want[:, rows] if (s.shape[1], want.shape[1]) == lengths else want for s, want in zip(scores, wanted)]
    if [score.shape for score in scores] != [want.shape for want in wanted]:
        raise CannotInherit('with it the scores are not those that the teacher makes of the same features')
    return list(zip(scores, wanted))


def _scores_of_both(networks: Networks, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
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


def _border(scores: Scores, padded: bool) -> int:
    """How far from the border of their maps the scores differ; the largest maps tell, smaller ones must not contradict.

    Only a ``padded`` convolution of a multiplied feature may differ there.
    """
    if all(_same(*pair) for pair in scores):
        return 0
    if not padded or any(score.ndim != 4 for score, _ in scores):
        raise CannotInherit('with it the scores are not those that the teacher makes of the same features')
    side = max(min(score.shape[2:]) for score, _ in scores)
    for border in range(1, (side + 1) // 2):
        inner = [pair for pair in scores if min(pair[0].shape[2:]) > 2 * border]
        largest = [pair for pair in inner if min(pair[0].shape[2:]) == side]
        if all(_same(*pair, border) for pair in largest):
            if all(_same(*pair, border) for pair in inner):
                return border
            break
    raise CannotInherit(
        "zeros pad the student's feature where the maps would not make zeros of the teacher's, and with the training "
        'images no inner part of the scores is free of it: they are too small, or a norm or pooling spreads it'
    )


def _same(score: Tensor, want: Tensor, border: int = 0) -> bool:
    difference = score - want
    if border:
        difference = difference[..., border:-border, border:-border]
    return bool(difference.abs().max() <= _TOLERANCE * want.abs().max())


def _inner_part(scores: Scores, border: int) -> float:
    sizes = [score.shape[2:] for score, _ in scores]
    inner = sum(max(height - 2 * border, 0) * max(width - 2 * border, 0) for height, width in sizes)
    return inner / sum(height * width for height, width in sizes)
