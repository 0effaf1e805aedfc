"""Multi-head knowledge distillation (Wang et al., arXiv 2012.02911)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd.distillers.kd import SOFT_LOSS
from mmkd.distillers.options import check_dict, check_taught, check_weight
from mmkd.distillers.sskd import SSKD
from mmkd.errors import UserError
from mmkd.features.adapters import module_key
from mmkd.features.capture import Feature, run_to
from mmkd.heads import load_heads
from mmkd.registry import MODELS
from mmkd.stages.attachment import Attachment, attach_points
from mmkd.stages.phases import ALL, Phase, check_name
from mmkd.stages.plan import Stage
from mmkd.tasks import Outcome, Scores, task_of
from mmkd.utils.random_state import own_randomness

STUDENT_HEADS, TEACHER_HEADS = 'student_heads', 'teacher_heads'
HEAD_SOFT_LOSS = 'head_soft_loss'


@MODELS.register_module()
class MHKD(SSKD):
    """Auxiliary heads on stages of both networks; the student's learn from the teacher's, next to plain KD.

    The loss, with z the scores of the networks and h_i those of their heads on stage i::

        gamma * own(z_s) + alpha * soft(z_s, z_t)
        + beta * sum_i w_i * [(1 - ce_share) * soft(h_s_i, h_t_i) + ce_share * own(h_s_i)] + sum_i own(h_t_i)

    ``own`` is the loss in the student's config. What has no weight is not computed. The teacher's heads belong to the
    distiller. They learn too, unless they were loaded or the schedule lets ``'teacher_heads'`` learn before. Where
    the schedule has single stages, these learn as in :class:`SSKD`.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        heads (dict, optional): The auxiliary heads of both networks. Defaults to ``dict(type='mmkd.AuxiliaryHead')``
            for classifiers and a light ``mmdet.FCOSHead`` for detectors.
        attach (Sequence, optional): Where they sit: indices or names of stages, module paths that both networks have,
            or pairs of paths (of the student, of the teacher). Defaults to every stage but the last of classifiers, and
            every stage of the backbone from stride 8 on of detectors.
        teacher_heads (str, optional): A file of trained teacher's heads, made by ``tools/save_teacher_heads.py``.
        soft_loss (dict, optional): Defaults to ``dict(type='mmkd.SoftTargetLoss')`` for classifiers and
            ``dict(type='mmkd.ClassScoreLoss')`` for detectors.
        head_soft_loss (dict, optional): The one between heads. Defaults to ``soft_loss``.
        gamma (float, optional): The weight of the student's own loss. Defaults to 0.1 for classifiers, 1.0 for
            detectors.
        alpha (float, optional): The weight of the soft loss between the networks' scores. Defaults to 0.9 for
            classifiers, 1.0 for detectors.
        beta (float): The weight of the heads. Defaults to 0.5.
        ce_share (float, optional): The own loss's share of a student's head, from 0 to 1. Defaults to 0.1 for
            classifiers, 0.5 for detectors.
        head_weights (dict[str, float], optional): w_i by the name of the stage; 1 by default.
        target (str): The student's heads learn from the teacher's ``'heads'`` or its ``'final'`` scores.
        soft_until (float): The part of the phase after which the heads' soft loss stops. Defaults to 1.0.
        kwargs: ``mimic_loss``, ``stage_losses``, ``pairs``, ``channels_last``, ``compile``, ``frozen_dtype``,
            ``cuda_graph``, ``data_preprocessor`` as :class:`SSKD` has them.
    """

    compares_scores = True
    head_learns_from_features = False

    def __init__(
        self,
        student: dict,
        teacher: dict,
        heads: dict | None = None,
        attach: Sequence | None = None,
        teacher_heads: str | None = None,
        soft_loss: dict | None = None,
        head_soft_loss: dict | None = None,
        gamma: float | None = None,
        alpha: float | None = None,
        beta: float = 0.5,
        ce_share: float | None = None,
        head_weights: dict[str, float] | None = None,
        target: str = 'heads',
        soft_until: float = 1.0,
        **kwargs,
    ):
        super().__init__(student, teacher, weight=0, **kwargs)
        if target not in ('heads', 'final'):
            raise UserError(f"model.target must be 'heads' or 'final', not {target!r}.")
        self.task = task_of(self.student, self.teacher)
        self.heads = check_dict('model.heads', heads or self.task.heads)
        self.attach = attach
        self.teacher_heads = teacher_heads
        soft_loss = soft_loss or self.task.soft_loss
        with own_randomness():
            self.extras[SOFT_LOSS] = MODELS.build(soft_loss)
            self.extras[HEAD_SOFT_LOSS] = MODELS.build(head_soft_loss or soft_loss)
        self.gamma = check_weight('model.gamma', self.task.gamma if gamma is None else gamma)
        self.alpha = check_weight('model.alpha', self.task.alpha if alpha is None else alpha)
        check_taught(self.gamma, self.alpha)
        self.beta = check_weight('model.beta', beta)
        self.ce_share = check_weight('model.ce_share', self.task.ce_share if ce_share is None else ce_share, most=1)
        self.soft_until = check_weight('model.soft_until', soft_until, most=1)
        self.task.check_options(self.gamma, self.ce_share, target)
        if self.ce_share == 0 and soft_until < 1:
            raise UserError('model.ce_share: with 0, heads have nothing to learn after model.soft_until; raise either.')
        self.head_weights = check_dict('model.head_weights', head_weights or {})
        self.target = target
        self.points: list[Attachment] = []  # where heads sit; none without weight
        self.teacher_learns = False  # its heads, along with the student

    def prepare(self, inputs: Tensor) -> None:
        """Find the stages of both networks and where heads sit."""
        super().prepare(inputs)
        both = self.padded_for_both(inputs)
        student, teacher = (self.student, both), (self.teacher.network, self.teacher_inputs(both))
        points: list[Attachment] = []
        with own_randomness():
            self.classes = self.task.check(inputs, self.teacher_inputs(inputs), own_scores=bool(self.alpha))
            if self.beta:
                wanted = self.task.places(self.plan) if self.attach is None else self.attach
                points = attach_points(wanted, self.plan, self.teacher_stages, student, teacher)
        names = [point.name for point in points]
        for name, weight in self.head_weights.items():
            check_name(name, names, 'model.head_weights')
            check_weight(f'model.head_weights.{name}', weight)
        self.points = [point for point in points if self.head_weights.get(point.name, 1)]
        self.check_cut(point.teacher for point in self.points)
        for point in self.points:
            self.task.check_place(point)

    @property
    def decided(self) -> tuple:
        """Also whether heads still learn from soft targets."""
        return (*super().decided, self.progress < self.soft_until)

    @property
    def soft_loss(self) -> nn.Module:
        """The distance between the networks' scores; it may have parameters."""
        return self.extras[SOFT_LOSS]

    @property
    def head_soft_loss(self) -> nn.Module:
        """The one between heads."""
        return self.extras[HEAD_SOFT_LOSS]

    @property
    def has_teacher_heads(self) -> bool:
        """Whether the loss asks for any."""
        return bool(self.points) and self.target == 'heads' and self.ce_share < 1

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The ends of the stages, and where heads sit."""
        own, theirs = super().watched_modules
        return own | {point.student.end for point in self.points}, theirs | {p.teacher.end for p in self.points}

    @property
    def teachable(self) -> tuple[str, ...]:
        """Single stages as in SSKD, and the teacher's heads."""
        learnable = self.has_teacher_heads and self.teacher_heads is None
        return (*super().teachable, TEACHER_HEADS) if learnable else super().teachable

    def default_phases(self) -> list:
        """Everything at once."""
        return [ALL]

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build the heads, and what single stages need."""
        super().build_extras(phases)
        learns_head = [self.plan.head.name in phase for phase in phases]
        learns_teacher = [TEACHER_HEADS in phase for phase in phases]
        if any(TEACHER_HEADS in phase and len(phase) > 1 for phase in phases):
            raise UserError(
                f'default_hooks.stages.stages: {TEACHER_HEADS} learn in a phase of their own; name them alone.'
            )
        with own_randomness():
            if any(learns_head):
                self._build_heads(STUDENT_HEADS, {point.name: point.student for point in self.points})
            if self.has_teacher_heads:
                self._build_heads(TEACHER_HEADS, {point.name: point.teacher for point in self.points})
        if self.teacher_heads and self.has_teacher_heads:
            load_heads(self.extras[TEACHER_HEADS], self.teacher_heads)
        if self.points:
            places = ', '.join(f'{p.name} (student {p.student.end}, teacher {p.teacher.end})' for p in self.points)
            print_log(f'Auxiliary heads on {places}', logger='current')
        self.teacher_learns = self.has_teacher_heads and not self.teacher_heads and not any(learns_teacher)
        if any(learns_head) and any(learns_teacher) and learns_head.index(True) <= learns_teacher.index(True):
            raise UserError(f'default_hooks.stages.stages: {TEACHER_HEADS} teach the student, so they must come first.')

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The losses of the teacher's heads in their own phase; else those of the current stages."""
        if TEACHER_HEADS not in self.current:
            return super().loss(inputs, data_samples)
        return self._teacher_losses(self._teacher_head_outputs(inputs, data_samples), data_samples)

    def head_loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The whole loss, a term each."""
        return self._terms(inputs, data_samples, labelled=True)

    def learns_from_images(self, phase: Phase) -> bool:
        """All soft losses do, and mimicking."""
        if TEACHER_HEADS in phase or self.plan.head.name not in phase:
            return TEACHER_HEADS not in phase
        return bool(self.alpha or (self.points and self.ce_share < 1))

    @property
    def needs_labels(self) -> bool:
        """Training the teacher's heads needs labels."""
        return super().needs_labels or TEACHER_HEADS in self.current

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The soft terms."""
        return self._terms(inputs, data_samples, labelled=False)

    def _terms(self, inputs: Tensor, data_samples: list | None, labelled: bool) -> dict:
        """Without labels, those that need none."""
        stages = [point.student for point in self.points]
        gamma = self.gamma if labelled else 0
        student = partial(self.task.student_outcome, inputs, data_samples, gamma, stages)
        teacher = partial(self._run_teacher, self.teacher_inputs(inputs, data_samples))
        outcome, (final, features) = self.task.run_both(student, teacher)
        losses = dict(outcome.losses)
        if self.alpha:
            losses['loss_soft'] = self.alpha * self.soft_loss(outcome.scores, final)
        theirs = self._outputs(TEACHER_HEADS, features)
        for name, own in self._outputs(STUDENT_HEADS, outcome.features).items():
            weight = self.beta * self.head_weights.get(name, 1)
            if self.ce_share < 1 and self.progress < self.soft_until:
                target = self.task.scores(*theirs[name]) if name in theirs else final
                soft = self.head_soft_loss(self.task.scores(*own), target)
                losses[f'loss_soft_{name}'] = weight * (1 - self.ce_share) * soft
            if self.ce_share and labelled:
                losses[f'loss_own_{name}'] = weight * self.ce_share * self.task.own_loss(*own, data_samples)
        if self.teacher_learns and labelled:
            losses.update(self._teacher_losses(theirs, data_samples))
        return losses

    def trained_extras(self) -> list[nn.Module]:
        """The heads that learn with the stages at hand and what the losses have to learn, or those of stages."""
        if not self.learns_head:
            return [self.extras[TEACHER_HEADS]] if TEACHER_HEADS in self.current else super().trained_extras()
        names = [STUDENT_HEADS, *([TEACHER_HEADS] if self.teacher_learns else [])]
        names += [SOFT_LOSS] if self.alpha else []
        names += [HEAD_SOFT_LOSS] if self.points and self.ce_share < 1 else []
        return [self.extras[name] for name in names if name in self.extras]

    @property
    def measures(self) -> bool:
        """The accuracy of every head; for detectors, the distance of the student's heads."""
        if not self.learns_head and TEACHER_HEADS not in self.current:
            return super().measures
        return bool(self.points) and (self.task.has_accuracy or (self.learns_head and self.has_teacher_heads))

    def measure(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """What auxiliary heads that are at work have reached, or what SSKD measures of single stages."""
        if not self.learns_head and TEACHER_HEADS not in self.current:
            return super().measure(inputs, data_samples)
        scores = {}
        if self.learns_head:
            features = run_to(self.student, [point.student for point in self.points], inputs)
            scores.update(self._scores(STUDENT_HEADS, self._outputs(STUDENT_HEADS, features)))
        if self.has_teacher_heads:
            scores.update(self._scores(TEACHER_HEADS, self._teacher_head_outputs(inputs, data_samples)))
        if self.task.has_accuracy:
            return {name: self.task.accuracy(its, data_samples) for name, its in scores.items()}
        pairs = {p.name: [scores[f'{whose}/{p.name}'] for whose in (STUDENT_HEADS, TEACHER_HEADS)] for p in self.points}
        return {f'soft_{name}': self.head_soft_loss(*pair) for name, pair in pairs.items()}

    def _build_heads(self, whose: str, stages: dict[str, Stage]) -> None:
        heads = {module_key(n): self.task.build_head(self.heads, stage, self.classes) for n, stage in stages.items()}
        if heads:
            self.extras[whose] = nn.ModuleDict(heads).to(next(self.student.parameters()).device)

    def _outputs(self, whose: str, features: Sequence[Feature]) -> dict[str, tuple[nn.Module, Any]]:
        """All heads of a network and their outputs, by stage."""
        if whose not in self.extras:
            return {}
        heads = dict(self.extras[whose].named_children())
        pairs = ((point, heads[module_key(point.name)], feature) for point, feature in zip(self.points, features))
        return {point.name: (head, head(feature)) for point, head, feature in pairs}

    def _scores(self, whose: str, outputs: dict[str, tuple[nn.Module, Any]]) -> dict[str, Any]:
        return {f'{whose}/{name}': self.task.scores(*output) for name, output in outputs.items()}

    def _run_teacher(self, teacher_inputs: Tensor, student: Outcome | None) -> tuple[Scores | None, list[Feature]]:
        """The teacher's scores and features that the loss reads."""
        stages = [point.teacher for point in self.points] if self.has_teacher_heads else []
        if self.alpha or (self.points and self.target == 'final'):
            outcome = self.task.teacher_outcome(teacher_inputs, student, stages)
            return outcome.scores, outcome.features
        return None, self.teacher.run_to(stages, teacher_inputs) if stages else []

    def _teacher_head_outputs(self, inputs: Tensor, data_samples: list | None) -> dict[str, tuple[nn.Module, Any]]:
        stages = [point.teacher for point in self.points]
        features = self.teacher.run_to(stages, self.teacher_inputs(inputs, data_samples))
        return self._outputs(TEACHER_HEADS, features)

    def _teacher_losses(self, outputs: dict[str, tuple[nn.Module, Any]], data_samples: list | None) -> dict:
        return {f'loss_teacher_{name}': self.task.own_loss(*out, data_samples) for name, out in outputs.items()}
