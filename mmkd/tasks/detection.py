"""Detection: boxes and their classes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.capture import feature_of, recording
from mmkd.features.every_call import Call, every_call
from mmkd.features.layout import Layout
from mmkd.features.padding import Padded
from mmkd.heads import DenseHead, build_dense_head, class_scores
from mmkd.losses import ClassScores
from mmkd.stages.attachment import Attachment
from mmkd.stages.plan import Stage, StagePlan
from mmkd.tasks.base import Outcome, Task, total, weighted
from mmkd.tasks.detector_heads import pair_heads
from mmkd.tasks.head_pair import HeadPair
from mmkd.tasks.prediction_checks import check_cross, check_kinds, check_targets
from mmkd.tasks.predictions import Predictions, heard_at, predict
from mmkd.tasks.targets import Targets

T = TypeVar('T')

FEW = 3  # classes, with which class scores taught nothing
FINEST = 8  # the stride from which on detectors commonly look for objects


@dataclass(frozen=True)
class Proposed(Outcome):
    """The results of one forward of a detector.

    Args:
        proposals: The boxes that each head of a two-stage student scored.
    """

    proposals: Sequence[Tensor] = ()


class Detection(Task):
    """Class scores of a detector of mmdet, at anchors, points or proposals."""

    parts = ('bbox_head', 'roi_head')
    gamma, alpha, ce_share = 1.0, 1.0, 0.5
    heads: ClassVar = dict(
        type='mmdet.FCOSHead', feat_channels=128, stacked_convs=1, norm_on_bbox=True, center_sampling=True
    )  # needs no anchors, no assigner, and takes boxes of any size on a single level
    soft_loss: ClassVar = dict(type='mmkd.ClassScoreLoss')
    has_accuracy = False
    own: HeadPair | None = None  # how the networks' own heads are compared, if they are
    reads: tuple[str, ...] | None = None  # modules of dense heads whose inputs are wanted; None: no predictions are

    @classmethod
    def check_sample(cls, student: nn.Module, sample: Any) -> None:
        """Check that it has the boxes, labels and masks that the student's heads learn from."""
        masks = getattr(getattr(student, 'roi_head', None), 'with_mask', False)
        needed = dict(bboxes=getattr(student, 'with_bbox', False), labels=True, masks=masks)
        missing = [name for name, needs in needed.items() if needs and name not in sample.get('gt_instances', ())]
        if missing:
            raise UserError(
                'train_dataloader.dataset.pipeline: the student learns from the ground truth, and its images come '
                f"without {' and '.join(missing)}; load them with dict(type='LoadAnnotations', with_bbox=True"
                f'{", with_mask=True" * masks}).'
            )

    @classmethod
    def num_classes(cls, network: nn.Module) -> int | None:
        """That of the last box head; a proposal network only tells objects from background."""
        head = getattr(getattr(network, 'roi_head', network), 'bbox_head', None)
        return getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'num_classes', None)

    def run_both(self, student: Callable[[], Outcome], teacher: Callable[[Outcome | None], T]) -> tuple[Outcome, T]:
        """The teacher of a two-stage detector scores what the student proposes, and so comes after it."""
        if self.own is None or not self.own.needs_proposals:
            return super().run_both(student, teacher)
        outcome = student()
        return outcome, teacher(outcome)

    def check_options(self, gamma: float, ce_share: float = 1.0, target: str = 'heads') -> None:
        """Boxes learn from the ground truth only, and auxiliary heads score other places than the own head.

        What is allowed but has gained nothing is told.
        """
        for key, share in (('gamma', gamma), ('ce_share', ce_share)):
            if not share:
                raise UserError(f'model.{key}: with 0 nothing teaches boxes to a detector; it must be above 0.')
        if target != 'heads':
            raise UserError(
                f"model.target: {target!r} compares an auxiliary head with the detector's own, which scores other "
                "places; detectors take 'heads'."
            )
        classes = self.num_classes(self.student)
        if classes is not None and classes <= FEW:
            print_log(
                f'Class scores alone gained nothing for a detector of {FEW} classes from scratch, features did; '
                'consider mmkd.FeatureKD or mmkd.SSKD (docs/mhkd.md, "When class scores pay").',
                logger='current',
                level=logging.WARNING,
            )

    def check(self, inputs: Tensor, teacher_inputs: Tensor, own_scores: bool) -> int:
        """Compare the classes that the heads know, and the places that they score."""
        own, theirs = (self.num_classes(network) for network in (self.student, self.teacher.network))
        if own != theirs:
            raise UserError(
                f'model.teacher: it knows {theirs} classes, the student {own}, so their scores cannot be compared; '
                'take a teacher of the same classes, or mmkd.SSKD without alpha, which compares features.'
            )
        if own_scores:
            self.own = pair_heads(self.student, self.teacher.network)
            own_inputs, their_inputs = Padded.to_multiples(inputs, 1), self.teacher.pad(teacher_inputs)
            self.own.check(self.student, own_inputs, self.teacher.network, their_inputs)
        assert own is not None
        return own

    def check_predicted(self, key: str, form: str) -> None:
        """Refuse networks whose heads do not predict what a term compares."""
        check_kinds(key, self.student, self.teacher.network, form)

    def predict(self, key: str, inputs: Tensor) -> None:
        """From now on outcomes have predictions."""
        self.reads = self.reads or ()
        check_targets(key, self.student, inputs)

    def cross(
        self, key: str, inputs: Tensor, teacher_inputs: Tensor, convs: int | None
    ) -> tuple[int, dict[str, tuple[int, int]]]:
        """From now on the predictions know what came into the convolutions at which a term changes heads.

        See :func:`mmkd.tasks.prediction_checks.check_cross`.
        """
        own, theirs = Padded.to_multiples(inputs, 1), self.teacher.pad(teacher_inputs)
        convs, widths = check_cross(key, (self.student, own), (self.teacher.network, theirs), convs)
        self.reads = tuple(dict.fromkeys([*(self.reads or ()), *widths]))
        return convs, widths

    def example_scores(self, own: bool = True) -> ClassScores | None:
        """Of a few places."""
        if own:
            return None if self.own is None else self.own.example
        return ClassScores(torch.zeros(2, self.num_classes(self.student) or 1), sigmoid=True)

    @property
    def tells_labels(self) -> bool:  # type: ignore[override]
        """Of proposals; the labels of anchors and points lie in another order than the scores."""
        return self.own is not None and self.own.needs_proposals

    def places(self, plan: StagePlan) -> list[str]:
        """The stages of the backbone from stride 8 on; the pyramid has the detector's own head."""
        names = [s.name for s in plan.stages if s.stride and s.stride >= FINEST and s.end.split('.')[0] != 'neck']
        if not names:
            raise UserError(
                f'model.attach: no stage of the backbone has a stride of {FINEST} or more; name places for heads.'
            )
        return names

    def check_place(self, place: Attachment) -> None:
        """Heads score the same places only if the maps have the same sizes."""
        own, theirs = ([Layout.of(s, shape).grid for shape in s.shapes] for s in (place.student, place.teacher))
        if own != theirs:
            raise UserError(
                f"model.attach: at {place.name} the student's maps have the sizes {own}, the teacher's at "
                f'{place.teacher.end} {theirs}, so their heads score other places; attach them where maps are alike.'
            )

    def build_head(self, cfg: dict, stage: Stage, num_classes: int) -> nn.Module:
        """A dense head of mmdet."""
        return build_dense_head(cfg, stage, num_classes)

    def student_outcome(
        self, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
    ) -> Outcome:
        """All out of one forward."""
        ends = self.own.ends(self.student) if self.own else []
        inside = [*self._class_losses, *(self._heard(path) for path in self.reads or ())]
        with every_call(self.student, inside) as calls, recording(self.student, [*stages, *ends]) as outputs:
            losses = self.student.loss(inputs, data_samples) if weight else {}  # type: ignore[operator]
            if not weight:
                self._run_student(inputs, data_samples)
        features = [feature_of(outputs[stage.end], len(inputs)) for stage in stages]
        scores, proposals = self.own.of_student(self.student, outputs) if self.own else (None, ())
        more = self._told(outputs, calls)
        return Proposed(weighted(losses, weight), scores, features, proposals=proposals, **more)

    @property
    def _class_losses(self) -> list[str]:
        """The modules that are told the classes of the places that are compared."""
        wanted = self.reads is not None or (self.tells_labels and self.labels_wanted)
        return [*self.own.class_losses(self.student)] if self.own is not None and wanted else []

    def _told(self, outputs: dict[str, Any], calls: dict[str, list[Call]]) -> dict[str, Any]:
        """What the student's own class loss compares its scores with, and of a dense head its predictions."""
        if not self._class_losses:
            return {}
        classes = self.num_classes(self.student)
        assert classes is not None
        targets = Targets.of([call for path in self._class_losses for call in calls[path]], classes)
        if self.reads is None:
            return dict(labels=None if targets is None else targets.labels)
        head = self.student.get_submodule('bbox_head')
        inputs = {path: [call.first for call in calls[self._heard(path)]] for path in self.reads}
        return dict(predictions=Predictions(head, outputs['bbox_head'], (), inputs, targets))

    def _heard(self, path: str) -> str:
        return f'bbox_head.{heard_at(self.student.get_submodule("bbox_head"), path)}'

    def _run_student(self, inputs: Tensor, data_samples: list | None) -> None:
        """As far as the head that is compared, if one is; no boxes are needed."""
        if self.own is None:
            self.student.extract_feat(inputs)  # type: ignore[operator]
        else:
            self.own.run_student(self.student, inputs, data_samples)

    @torch.no_grad()
    def teacher_outcome(self, inputs: Tensor, student: Outcome | None = None, stages: Sequence[Stage] = ()) -> Outcome:
        """As far as the head that is compared; no boxes are made of it."""
        assert self.own is not None
        proposals = student.proposals if isinstance(student, Proposed) else ()
        network, padded = self.teacher.network, self.teacher.pad(inputs)
        with recording(network, stages) as outputs:
            pyramid = network.extract_feat(padded.inputs)  # type: ignore[operator]
        features = [padded.cut(feature_of(outputs[stage.end], len(inputs))) for stage in stages]
        if self.reads is None:
            return Outcome({}, self.own.of_teacher(network, padded.cut(pyramid), proposals), features)
        head = network.get_submodule('bbox_head')
        said = predict(head, padded.cut(pyramid), self.reads)
        return Outcome({}, class_scores(head, said.output), features, predictions=said)

    def scores(self, head: nn.Module, output: tuple) -> ClassScores:
        """Of a dense head."""
        assert isinstance(head, DenseHead)
        return class_scores(head.head, output)

    def own_loss(self, head: nn.Module, output: tuple, data_samples: list | None) -> Tensor:
        """Of a dense head, boxes included."""
        assert isinstance(head, DenseHead)
        assert data_samples is not None
        return total(head.own_losses(output, data_samples))
