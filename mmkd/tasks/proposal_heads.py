"""Heads that score proposals."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import ModuleInput, ModuleOutput, StageEnd, recording
from mmkd.features.padding import Padded
from mmkd.losses import ClassScores
from mmkd.stages.trace import unchanged
from mmkd.tasks.head_pair import LEAVE_OUT


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

    def class_losses(self, student: nn.Module) -> list[str]:
        """That of each head."""
        return [f'{path}.loss_cls' for path, _ in _box_heads(student)]

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
        self.example = own
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
