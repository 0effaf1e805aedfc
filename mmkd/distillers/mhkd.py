"""Multi-head knowledge distillation (Wang et al., arXiv 2012.02911)."""

from collections.abc import Sequence

from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import Inheritance
from mmkd.errors import UserError
from mmkd.objectives.head_term import HeadTerm
from mmkd.objectives.heads import AuxiliaryHeads
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.options import check_taught
from mmkd.objectives.own_loss import OwnLoss
from mmkd.objectives.soft_targets import SoftTargets
from mmkd.objectives.teacher_heads import TeacherHeadTraining
from mmkd.registry import MODELS
from mmkd.tasks import task_of
from mmkd.utils.numbers import check_weight
from mmkd.utils.random_state import own_randomness


@MODELS.register_module()
class MHKD(Distiller):
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
        mimic_loss, stage_losses, pairs, head_from_teacher: As in :class:`SSKD`.
        kwargs: The options of every :class:`Distiller`.
    """

    compares_scores = True
    learns_scores_only = True

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
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        pairs: Sequence[tuple[str, str]] | None = None,
        head_from_teacher: bool = True,
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        if target not in ('heads', 'final'):
            raise UserError(f"model.target must be 'heads' or 'final', not {target!r}.")
        networks = self.networks
        self.pairs = pairs
        self.inheritance = Inheritance(self, head_from_teacher)
        self.task = task_of(self.student, self.teacher)
        self.mimicking = StageMimicking(networks, mimic_loss, stage_losses, self.inheritance.reads_one_map)
        self.heads = AuxiliaryHeads(networks, self.task, heads, attach, teacher_heads)
        self.soft_targets = SoftTargets(networks, self.task, soft_loss, alpha)
        self.gamma = check_weight('model.gamma', self.task.gamma if gamma is None else gamma)
        check_taught(self.gamma, self.soft_targets.weight)
        self.head_term = HeadTerm(
            self.heads,
            head_soft_loss or soft_loss or self.task.soft_loss,
            beta,
            ce_share,
            head_weights,
            target,
            soft_until,
        )
        self.task.check_options(self.gamma, self.head_term.ce_share, target)
        terms = [self.soft_targets, self.head_term]
        self.objectives = [
            TeacherHeadTraining(self.heads),
            self.mimicking,
            OwnLoss(networks, terms, self.gamma, self.task),
        ]

    def find_stages(self, inputs: Tensor) -> None:
        """Find the stages of both networks, and compare their classes."""
        super().find_stages(inputs)
        with own_randomness():
            own_scores = bool(self.soft_targets.weight)
            self.heads.classes = self.task.check(inputs, self.teacher_inputs(inputs), own_scores)
