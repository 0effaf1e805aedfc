"""Classification: one class for each image."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import ModuleOutput, StageEnd, feature_of, recording
from mmkd.heads import build_head
from mmkd.stages.plan import Stage, StagePlan
from mmkd.stages.trace import unchanged
from mmkd.tasks.base import Outcome, Scores, Task, total, weighted


class Classification(Task):
    """Scores of a classifier of mmpretrain: (images, classes)."""

    parts = ('head',)
    gamma, alpha, ce_share = 0.1, 0.9, 0.1
    heads: ClassVar = dict(type='mmkd.AuxiliaryHead')
    soft_loss: ClassVar = dict(type='mmkd.SoftTargetLoss')
    has_accuracy = True
    head_end: StageEnd = ModuleOutput('head')

    @classmethod
    def check_sample(cls, student: nn.Module, sample: Any) -> None:
        """Check that the sample has a label."""
        if 'gt_label' not in sample:
            raise UserError(
                'train_dataloader.dataset: the student learns from the ground truth, and its images come without '
                "labels; give it ann_file or folders of classes, and pack the label with dict(type='PackInputs')."
            )

    @classmethod
    def as_in_training(cls, sample: Any) -> None:
        """Soft labels are integers until images are mixed; the loss needs floats."""
        if 'gt_score' in sample:
            sample.set_data(dict(gt_score=sample.gt_score.float()))

    @classmethod
    def num_classes(cls, network: nn.Module) -> int | None:
        """A regression has no classes: None."""
        return None if type(network.head).__name__ == 'RegressionHead' else super().num_classes(network)

    def check(self, inputs: Tensor, teacher_inputs: Tensor, own_scores: bool) -> int:
        """Run both heads once and compare their numbers of classes."""
        own = _count_classes('student', self.student, inputs)
        theirs = _count_classes('teacher', self.teacher.network, self.teacher.pad(teacher_inputs).inputs)
        if own != theirs:
            raise UserError(
                f'model.teacher: it knows {theirs} classes, the student {own}, so their scores cannot be '
                'compared; take a teacher of the same classes, or mmkd.SSKD without alpha, which compares features.'
            )
        return own

    def example_scores(self, own: bool = True) -> Tensor | None:
        """Of two images."""
        classes = self.num_classes(self.student)
        return None if classes is None else torch.zeros(2, classes)

    def places(self, plan: StagePlan) -> list[str]:
        """All stages except the last, which has the network's own head."""
        names = [stage.name for stage in plan.stages]
        if len(names) == 1:
            raise UserError(
                f'model.attach: the student has a single stage, {names[0]}; name modules for heads, or use mmkd.KD.'
            )
        return names[:-1]

    def build_head(self, cfg: dict, stage: Stage, num_classes: int) -> nn.Module:
        """Build mmkd's own head, or a toolbox's neck and head."""
        return build_head(cfg, stage, num_classes)

    def student_outcome(
        self, inputs: Tensor, data_samples: list | None, weight: float, stages: Sequence[Stage] = ()
    ) -> Outcome:
        """Loss, scores and features come from one forward."""
        with recording(self.student, [*stages, self.head_end]) as outputs:
            losses = self.student.loss(inputs, data_samples) if weight else {}  # type: ignore[operator]
            if not weight:
                self.student(inputs, mode='tensor')
        losses = weighted(losses, weight)
        if 'loss' in losses:  # mmengine gives this name to the sum of all losses
            losses['loss_own'] = losses.pop('loss')
        features = [feature_of(outputs[stage.end], len(inputs)) for stage in stages]
        return Outcome(losses, self.own_scores(outputs[self.head_end.end]), features)

    def own_scores(self, recorded: Any) -> Tensor:
        """The student's scores, from what was recorded at ``head_end``."""
        return recorded

    @torch.no_grad()
    def teacher_outcome(self, inputs: Tensor, student: Outcome | None = None, stages: Sequence[Stage] = ()) -> Outcome:
        """Scores and features come from one forward."""
        padded = self.teacher.pad(inputs)
        with recording(self.teacher.network, stages) as outputs:
            scores = self.teacher.network(padded.inputs, mode='tensor')
        return Outcome({}, scores, [padded.cut(feature_of(outputs[stage.end], len(inputs))) for stage in stages])

    def scores(self, head: nn.Module, output: Tensor) -> Tensor:
        """The head's output is the scores."""
        return output

    def own_loss(self, head: nn.Module, output: Tensor, data_samples: list | None) -> Tensor:
        """The loss in the student's config, with soft labels and label smoothing."""
        return total(self.student.head._get_loss(output, data_samples))  # type: ignore[union-attr,operator]

    def accuracy(self, scores: Scores, data_samples: list) -> Tensor:
        """The top-1 accuracy."""
        assert isinstance(scores, Tensor)
        labels = torch.cat([sample.gt_label for sample in data_samples])
        return 100 * (scores.argmax(1) == labels).float().mean()


def _count_classes(key: str, network: nn.Module, inputs: Tensor) -> int:
    head = network.get_submodule('head')
    kinds = {kind.__name__ for kind in type(head).__mro__}
    if 'ClsHead' not in kinds or 'RegressionHead' in kinds:
        raise UserError(
            f'model.{key}: a {type(head).__name__} does not choose one of several classes for an image, and this '
            'method compares such choices; use mmkd.SSKD without alpha, which compares features.'
        )
    try:
        with torch.no_grad(), unchanged(network):
            network.eval()
            scores = network(inputs, mode='tensor')
    except Exception as error:  # a toolbox's heads may raise anything
        raise UserError(
            f'model.{key}: its {type(head).__name__} does not fit what comes before it ({in_one_line(error)}); fix '
            'its config.'
        ) from error
    if not isinstance(scores, Tensor):
        raise UserError(
            f'model.{key}: its {type(head).__name__} puts out several scores an image, and this method compares '
            'one; use mmkd.SSKD without alpha, which compares features.'
        )
    return scores.shape[1]
