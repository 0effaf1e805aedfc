"""Multi-head knowledge distillation (Wang et al., arXiv 2012.02911)."""

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd.attach import Attachment, attach_points
from mmkd.distillers.scores import check_taught, check_weight, count_classes, own_loss, student_outcome, teacher_outcome
from mmkd.distillers.sskd import SSKD, module_key
from mmkd.errors import UserError
from mmkd.heads import build_head, load_heads
from mmkd.prefix import Feature, run_to
from mmkd.random_state import own_randomness
from mmkd.registry import MODELS
from mmkd.schedule import ALL, Phase, check_name
from mmkd.stages import Stage

STUDENT_HEADS, TEACHER_HEADS = 'student_heads', 'teacher_heads'


@MODELS.register_module()
class MHKD(SSKD):
    """Auxiliary classifiers on stages of both networks; the student's learn from the teacher's, next to plain KD.

    The loss, with z the scores of the networks and h_i those of their heads on stage i::

        gamma * own(z_s) + alpha * soft(z_s, z_t)
        + beta * sum_i w_i * [(1 - ce_share) * soft(h_s_i, h_t_i) + ce_share * own(h_s_i)] + sum_i own(h_t_i)

    ``own`` is the loss in the student's config. What has no weight is not computed. The teacher's heads belong to the
    distiller. They learn along, unless they were loaded or the schedule lets ``'teacher_heads'`` learn before. Where
    the schedule has single stages, these learn as in :class:`SSKD`.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        heads (dict, optional): The auxiliary heads of both networks. Defaults to ``dict(type='mmkd.AuxiliaryHead')``.
        attach (Sequence, optional): Where they sit: indices or names of stages, module paths that both networks have,
            or pairs of paths (of the student, of the teacher). Defaults to every stage but the last.
        teacher_heads (str, optional): A file of trained teacher's heads, made by ``tools/save_teacher_heads.py``.
        soft_loss (dict, optional): Defaults to ``dict(type='mmkd.SoftTargetLoss')``.
        head_soft_loss (dict, optional): The one between heads. Defaults to ``soft_loss``.
        gamma (float): The weight of the student's own loss. Defaults to 0.1.
        alpha (float): The weight of the soft loss between the networks' scores. Defaults to 0.9.
        beta (float): The weight of the heads. Defaults to 0.5.
        ce_share (float): The own loss's share of a student's head, from 0 to 1. Defaults to 0.1.
        head_weights (dict[str, float], optional): w_i by the name of the stage; 1 where nothing is said.
        target (str): The student's heads learn from the teacher's ``'heads'`` or its ``'final'`` scores.
        soft_until (float): The part of the phase after which the heads' soft loss stops. Defaults to 1.0.
        kwargs: ``mimic_loss``, ``stage_losses``, ``pairs``, ``data_preprocessor`` as :class:`SSKD` has them.
    """

    teacher_parts = ('backbone', 'neck', 'head')

    def __init__(
        self,
        student: dict,
        teacher: dict,
        heads: dict | None = None,
        attach: Sequence | None = None,
        teacher_heads: str | None = None,
        soft_loss: dict | None = None,
        head_soft_loss: dict | None = None,
        gamma: float = 0.1,
        alpha: float = 0.9,
        beta: float = 0.5,
        ce_share: float = 0.1,
        head_weights: dict[str, float] | None = None,
        target: str = 'heads',
        soft_until: float = 1.0,
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        if target not in ('heads', 'final'):
            raise UserError(f"model.target must be 'heads' or 'final', not {target!r}.")
        self.heads = heads or dict(type='mmkd.AuxiliaryHead')
        self.attach = attach
        self.teacher_heads = teacher_heads
        soft_loss = soft_loss or dict(type='mmkd.SoftTargetLoss')
        self.soft_loss, self.head_soft_loss = MODELS.build(soft_loss), MODELS.build(head_soft_loss or soft_loss)
        self.gamma = check_weight('model.gamma', gamma)
        self.alpha = check_weight('model.alpha', alpha)
        check_taught(gamma, alpha)
        self.beta = check_weight('model.beta', beta)
        self.ce_share = check_weight('model.ce_share', ce_share, most=1)
        self.soft_until = check_weight('model.soft_until', soft_until, most=1)
        if ce_share == 0 and soft_until < 1:
            raise UserError('model.ce_share: with 0, heads have nothing to learn after model.soft_until; raise either.')
        self.head_weights = head_weights or {}
        self.target = target
        self.points: list[Attachment] = []  # where heads sit; none without weight
        self.teacher_learns = False  # its heads, along with the student

    def prepare(self, inputs: Tensor) -> None:
        """Find the stages of both networks and where heads sit."""
        super().prepare(inputs)
        student, teacher = (self.student, inputs), (self.teacher.network, self.teacher_inputs(inputs))
        with own_randomness():
            self.classes = count_classes(student, teacher)
            points = attach_points(self.attach, self.plan, self.teacher_stages, student, teacher) if self.beta else []
        names = [point.name for point in points]
        for name, weight in self.head_weights.items():
            check_name(name, names, 'model.head_weights')
            check_weight(f'model.head_weights.{name}', weight)
        self.points = [point for point in points if self.head_weights.get(point.name, 1)]

    @property
    def has_teacher_heads(self) -> bool:
        """Whether the loss asks for any."""
        return bool(self.points) and self.target == 'heads' and self.ce_share < 1

    @property
    def lessons(self) -> tuple[str, ...]:
        """Single stages as in SSKD, and the teacher's heads."""
        learnable = self.has_teacher_heads and self.teacher_heads is None
        return (*super().lessons, TEACHER_HEADS) if learnable else super().lessons

    def default_phases(self) -> list:
        """Everything at once."""
        return [ALL]

    def equip(self, phases: Sequence[Phase]) -> None:
        """Build the heads, and what single stages need."""
        super().equip(phases)
        learns_head = [self.plan.head.name in phase for phase in phases]
        learns_teacher = [TEACHER_HEADS in phase for phase in phases]
        if any(TEACHER_HEADS in phase and len(phase) > 1 for phase in phases):
            raise UserError(f'default_hooks.stages.stages: {TEACHER_HEADS} learn in a phase of their own.')
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
        """The teacher's heads' losses in their own phase; else as the stages at hand have it."""
        if TEACHER_HEADS not in self.current:
            return super().loss(inputs, data_samples)
        return self._teacher_losses(self._teacher_head_scores(inputs), data_samples)

    def head_loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The whole loss, a term each."""
        outcome = student_outcome(self.student, inputs, data_samples, self.gamma, [p.student for p in self.points])
        final, features = self._run_teacher(inputs)
        losses = dict(outcome.losses)
        if self.alpha:
            losses['loss_soft'] = self.alpha * self.soft_loss(outcome.scores, final)
        targets = self._scores(TEACHER_HEADS, features)
        for name, scores in self._scores(STUDENT_HEADS, outcome.features).items():
            weight = self.beta * self.head_weights.get(name, 1)
            if self.ce_share < 1 and self.progress < self.soft_until:
                soft = self.head_soft_loss(scores, targets.get(name, final))
                losses[f'loss_soft_{name}'] = weight * (1 - self.ce_share) * soft
            if self.ce_share:
                losses[f'loss_own_{name}'] = weight * self.ce_share * own_loss(self.student, scores, data_samples)
        if self.teacher_learns:
            losses.update(self._teacher_losses(targets, data_samples))
        return losses

    def trained_extras(self) -> list[nn.Module]:
        """The heads that learn with the stages at hand, or adapters."""
        if not self.learns_head:
            return [self.extras[TEACHER_HEADS]] if TEACHER_HEADS in self.current else super().trained_extras()
        heads = [STUDENT_HEADS, TEACHER_HEADS] if self.teacher_learns else [STUDENT_HEADS]
        return [self.extras[whose] for whose in heads if whose in self.extras]

    @property
    def measures(self) -> bool:
        """The accuracy of every head tells where knowledge is lost."""
        return bool(self.points) or super().measures

    def measure(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The accuracy of every auxiliary head that is at work, or what SSKD measures of single stages."""
        if not self.learns_head and TEACHER_HEADS not in self.current:
            return super().measure(inputs, data_samples)
        labels = torch.cat([sample.gt_label for sample in data_samples])
        scores = {}
        if self.learns_head:
            features = run_to(self.student, [point.student for point in self.points], inputs)
            scores = {f'{STUDENT_HEADS}/{name}': s for name, s in self._scores(STUDENT_HEADS, features).items()}
        if self.has_teacher_heads:
            theirs = self._teacher_head_scores(inputs)
            scores.update({f'{TEACHER_HEADS}/{name}': s for name, s in theirs.items()})
        return {name: 100 * (s.argmax(1) == labels).float().mean() for name, s in scores.items()}

    def _build_heads(self, whose: str, stages: dict[str, Stage]) -> None:
        heads = {module_key(name): build_head(self.heads, stage, self.classes) for name, stage in stages.items()}
        if heads:
            self.extras[whose] = nn.ModuleDict(heads).to(next(self.student.parameters()).device)

    def _scores(self, whose: str, features: Sequence[Feature]) -> dict[str, Tensor]:
        """Of all heads of a network, by stage; none where it has none."""
        if whose not in self.extras:
            return {}
        heads = dict(self.extras[whose].named_children())
        return {p.name: heads[module_key(p.name)](feature) for p, feature in zip(self.points, features)}

    def _run_teacher(self, inputs: Tensor) -> tuple[Tensor | None, list[Feature]]:
        """Its scores and features, as far as the loss reads them."""
        stages = [point.teacher for point in self.points] if self.has_teacher_heads else []
        if self.alpha or (self.points and self.target == 'final'):
            outcome = teacher_outcome(self.teacher.network, self.teacher_inputs(inputs), stages)
            return outcome.scores, outcome.features
        with torch.no_grad():
            return None, run_to(self.teacher.network, stages, self.teacher_inputs(inputs)) if stages else []

    def _teacher_head_scores(self, inputs: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            stages = [point.teacher for point in self.points]
            features = run_to(self.teacher.network, stages, self.teacher_inputs(inputs))
        return self._scores(TEACHER_HEADS, features)

    def _teacher_losses(self, scores: dict[str, Tensor], data_samples: list | None) -> dict:
        return {f'loss_teacher_{name}': own_loss(self.student, s, data_samples) for name, s in scores.items()}
