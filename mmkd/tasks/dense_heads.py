"""Heads that score anchors or points."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import ModuleOutput, StageEnd
from mmkd.features.padding import Padded
from mmkd.heads import class_scores
from mmkd.losses import ClassScores
from mmkd.stages.trace import unchanged
from mmkd.tasks.head_pair import LEAVE_OUT

FEW = 4  # places


class DenseHeads:
    """Both score the same anchors or points."""

    needs_proposals = False

    def check(self, student: nn.Module, inputs: Padded, teacher: nn.Module, teacher_inputs: Padded) -> None:
        """Compare the anchors or points of both, and how they are scored."""
        own, own_scores = _priors('student', student, inputs)
        theirs, their_scores = _priors('teacher', teacher, teacher_inputs)
        same = len(own) == len(theirs) and all(s.shape == t.shape and torch.equal(s, t) for s, t in zip(own, theirs))
        if not same:
            raise UserError(
                f'model.teacher: its head scores {_listed(theirs)}, the student {_listed(own)}, and where they are '
                f'not the very same the scores cannot be compared; {LEAVE_OUT}.'
            )
        own_way, their_way = ((s.sigmoid, s.objectness is not None) for s in (own_scores, their_scores))
        if own_way != their_way:
            raise UserError(
                f"model.teacher: its head's scores are {_way(*their_way)}, the student's {_way(*own_way)}, so they "
                f'cannot be compared; {LEAVE_OUT}.'
            )
        self.example = own_scores.first(FEW)

    def class_losses(self, student: nn.Module) -> list[str]:
        """The one of the head."""
        return ['bbox_head.loss_cls']

    def ends(self, student: nn.Module) -> list[StageEnd]:
        """The head's output."""
        return [ModuleOutput('bbox_head')]

    def run_student(self, student: nn.Module, inputs: Tensor, data_samples: list | None) -> None:
        """At every anchor or point."""
        student.get_submodule('bbox_head')(student.extract_feat(inputs))  # type: ignore[operator]

    def of_student(self, student: nn.Module, outputs: dict[str, Any]) -> tuple[ClassScores, Sequence[Tensor]]:
        """At every anchor or point."""
        return class_scores(student.get_submodule('bbox_head'), outputs['bbox_head']), ()

    def of_teacher(self, teacher: nn.Module, pyramid: Sequence[Tensor], proposals: Sequence[Tensor]) -> ClassScores:
        """At every anchor or point."""
        head = teacher.get_submodule('bbox_head')
        return class_scores(head, head(pyramid))


def _priors(key: str, network: nn.Module, padded: Padded) -> tuple[list[Tensor], ClassScores]:
    """The anchors or points that a dense head scores on a batch, by levels, and the scores."""
    head = network.get_submodule('bbox_head')
    try:
        with torch.no_grad(), unchanged(network):
            network.eval()
            output = head(padded.cut(network.extract_feat(padded.inputs)))  # type: ignore[operator]
        sizes = [tuple(level.shape[-2:]) for level in output[0]]
        priors = head.prior_generator.grid_priors(sizes, device=padded.inputs.device)  # type: ignore[union-attr,operator]
        return priors, class_scores(head, output)
    except Exception as error:  # a toolbox's heads may raise anything
        raise UserError(
            f'model.{key}: its {type(head).__name__} does not fit what comes before it ({in_one_line(error)}); mend '
            'its config.'
        ) from error


def _listed(priors: Sequence[Tensor]) -> str:
    kind = 'anchors' if priors[0].shape[1] == 4 else 'points'
    return f'{" + ".join(str(len(level)) for level in priors)} {kind}'


def _way(sigmoid: bool, objectness: bool) -> str:
    return f'{"a yes or no for each class" if sigmoid else "a choice of one class"}{" and objectness" * objectness}'
