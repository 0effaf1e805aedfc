"""The detectors' own heads: where their class scores are, and which heads can be compared."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import ModuleInput, ModuleOutput, StageEnd, recording
from mmkd.features.padding import Padded
from mmkd.heads import class_scores, scores_classes
from mmkd.losses import ClassScores
from mmkd.stages.trace import unchanged

LEAVE_OUT = 'set model.alpha=0 to leave the soft loss between the own heads out'


class HeadPair(Protocol):
    """How the own heads of two detectors are compared."""

    needs_proposals: bool  # of the student, for the teacher to score

    def check(self, student: nn.Module, inputs: Padded, teacher: nn.Module, teacher_inputs: Padded) -> None:
        """Raise an error for heads that score different places."""

    def ends(self, student: nn.Module) -> Sequence[StageEnd]:
        """The module outputs to record in the student's own forward."""

    def run_student(self, student: nn.Module, inputs: Tensor, data_samples: list | None) -> None:
        """Run the student up to its scores, without ground truth."""

    def of_student(self, student: nn.Module, outputs: dict[str, Any]) -> tuple[ClassScores, Sequence[Tensor]]:
        """The student's scores and the proposals that they belong to."""

    def of_teacher(self, teacher: nn.Module, pyramid: Sequence[Tensor], proposals: Sequence[Tensor]) -> ClassScores:
        """The teacher's scores of the same places."""


def pair_heads(student: nn.Module, teacher: nn.Module) -> HeadPair:
    """How the own heads of two detectors are compared, or an error."""
    kinds = []
    for key, network in (('student', student), ('teacher', teacher)):
        if hasattr(network, 'roi_head') and hasattr(network.roi_head, 'bbox_roi_extractor'):
            kinds.append(ProposalHeads)
        elif scores_classes(getattr(network, 'bbox_head', None)):
            kinds.append(DenseHeads)  # type: ignore[arg-type]
        else:
            head = getattr(network, 'bbox_head', None) or network.roi_head
            raise UserError(
                f'model.{key}: its {type(head).__name__} scores no classes at anchors, points or proposals that '
                f'another head could score too; {LEAVE_OUT}.'
            )
    if kinds[0] is not kinds[1]:
        raise UserError(
            f'model.teacher: a {type(teacher).__name__} and a {type(student).__name__} score different places '
            f'(anchors or points in one, proposals in the other); {LEAVE_OUT}.'
        )
    return kinds[0]()


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


class ProposalHeads:
    """The teacher scores the proposals that the student sampled for its own loss; of a cascade, stage by stage."""

    needs_proposals = True

    def check(self, student: nn.Module, inputs: Padded, teacher: nn.Module, teacher_inputs: Padded) -> None:
        """Compare the number of heads, and check that given boxes get the scores of the own forward."""
        own, theirs = (len(_box_heads(network)) for network in (student, teacher))
        if own != theirs:
            raise UserError(
                f"model.teacher: it has {theirs} heads for proposals, the student {own}, and the student's proposals "
                f'have no partner in the others; {LEAVE_OUT}.'
            )
        for key, network in (('student', student), ('teacher', teacher)):
            for _, head in _box_heads(network):
                if getattr(head, 'custom_cls_channels', False):
                    raise UserError(
                        f'model.{key}: the {type(head.loss_cls).__name__} of its head makes scores of its own kind '
                        f'that cannot be compared; {LEAVE_OUT}.'
                    )
        for key, network, padded in (('student', student, inputs), ('teacher', teacher, teacher_inputs)):
            if why := self._why_not(network, padded.inputs):
                raise UserError(
                    f'model.{key}: its {type(network.roi_head).__name__} cannot score boxes that another network '
                    f'proposes ({why}); {LEAVE_OUT}.'
                )

    def ends(self, student: nn.Module) -> list[StageEnd]:
        """Which proposals each head gets, and its scores."""
        return [end for path, _ in _box_heads(student) for end in (ModuleInput(_extractor(path)), ModuleOutput(path))]

    def run_student(self, student: nn.Module, inputs: Tensor, data_samples: list | None) -> None:
        """At what it proposes; which of the proposals are sampled otherwise depends on the ground truth."""
        student(inputs, data_samples, mode='tensor')

    def of_student(self, student: nn.Module, outputs: dict[str, Any]) -> tuple[ClassScores, Sequence[Tensor]]:
        """At the proposals that it sampled."""
        paths = [path for path, _ in _box_heads(student)]
        scores = [outputs[path][0] for path in paths]
        return ClassScores(torch.cat(scores), sigmoid=False), [outputs[_extractor(path)][1] for path in paths]

    def of_teacher(self, teacher: nn.Module, pyramid: Sequence[Tensor], proposals: Sequence[Tensor]) -> ClassScores:
        """At the student's proposals."""
        return ClassScores(torch.cat([_scores(teacher, i, pyramid, boxes) for i, boxes in enumerate(proposals)]), False)

    def _why_not(self, network: nn.Module, inputs: Tensor) -> str:
        """Why scores of given boxes differ from those of the network's own forward; ``''`` if they agree."""
        height, width = inputs.shape[-2:]
        boxes = inputs.new_tensor([[0, 0, width, height], [width / 4, height / 4, width, height / 2]])
        size = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
        proposed = [InstanceData(bboxes=boxes) for _ in inputs]
        images = [BaseDataElement(metainfo=size) for _ in inputs]
        try:
            with torch.no_grad(), unchanged(network):
                network.eval()
                pyramid = network.extract_feat(inputs)  # type: ignore[operator]
                with recording(network, self.ends(network)) as outputs:
                    network.roi_head.forward(pyramid, proposed, images)  # type: ignore[union-attr,operator]
                own, proposals = self.of_student(network, outputs)
                shown = self.of_teacher(network, pyramid, proposals)
        except Exception as error:  # a toolbox's heads may raise anything
            return in_one_line(error)
        same = own.logits.shape == shown.logits.shape and torch.allclose(own.logits, shown.logits, 1e-3, 1e-4)
        return '' if same else 'its own scores of them are others'


def _scores(network: nn.Module, stage: int, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """The class scores of one of the heads for boxes."""
    roi_head = network.get_submodule('roi_head')
    which = [stage] if isinstance(roi_head.bbox_head, nn.ModuleList) else []
    return roi_head._bbox_forward(*which, pyramid, boxes)['cls_score']  # type: ignore[operator]


def _box_heads(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Paths and modules: one, or those of a cascade."""
    head = network.get_submodule('roi_head.bbox_head')
    if isinstance(head, nn.ModuleList):
        return [(f'roi_head.bbox_head.{i}', part) for i, part in enumerate(head)]
    return [('roi_head.bbox_head', head)]


def _extractor(path: str) -> str:
    """Of the head at a path."""
    return path.replace('bbox_head', 'bbox_roi_extractor')


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
            f'model.{key}: its {type(head).__name__} does not fit what comes before it ({in_one_line(error)}); fix '
            'its config.'
        ) from error


def _listed(priors: Sequence[Tensor]) -> str:
    kind = 'anchors' if priors[0].shape[1] == 4 else 'points'
    return f'{" + ".join(str(len(level)) for level in priors)} {kind}'


def _way(sigmoid: bool, objectness: bool) -> str:
    return f'{"a yes or no for each class" if sigmoid else "a choice of one class"}{" and objectness" * objectness}'
