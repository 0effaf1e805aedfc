"""Stage-by-stage knowledge distillation (Gao et al., arXiv 1812.01819)."""

from collections.abc import Sequence

from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import Inheritance
from mmkd.objectives.default_feature_term import DefaultFeatureTerm
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.own_loss import OwnLoss
from mmkd.objectives.soft_targets import SoftTargets
from mmkd.registry import MODELS
from mmkd.tasks import task_of
from mmkd.teacher.pretrained import has_weights
from mmkd.utils.numbers import check_weight
from mmkd.utils.random_state import own_randomness


@MODELS.register_module()
class SSKD(Distiller):
    """The student's backbone mimics the teacher's features one stage at a time, then everything learns from the labels.

    When the last feature is learned, the student's head starts as the teacher's. While stages learn with the head, some
    of their features go on mimicking, beside the student's own loss. The paper freezes the backbone while the head
    learns: that is ``unfreeze_last=False`` of the schedule, and nothing is mimicked then.

    Not the self-supervised "SSKD" of Xu et al. 2020. What is learned when is the schedule's business
    (:class:`mmkd.hooks.StageScheduleHook`).

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        mimic_loss (dict): The distance between features. Defaults to ``dict(type='mmkd.FeatureMimicLoss')``.
        stage_losses (dict[str, dict]): Other losses for single stages, by stage name.
        pairs (Sequence[tuple[str, str]], optional): Where the stages end, as module paths of the student and of the
            teacher. By default each network's resolutions, paired by stride.
        head_from_teacher (bool): When the last feature is learned, make the teacher's head the student's where that is
            exact; begin with the teacher's neck where both are alike. Defaults to True.
        weight (float): Of each place that is mimicked beside the student's own loss. With 0 labels alone teach there.
            Defaults to 2.0.
        places (Sequence[str], optional): Names of the stages that are mimicked beside it. Defaults to the neck of
            detectors that have one, and to every stage of other networks.
        feature_loss (dict, optional): The distance there. Defaults to ``dict(type='mmkd.PKDLoss')``.
        alpha (float): Of the teacher's class scores as soft targets beside the student's own loss; with it the student
            learns classes from images without labels, too. Both networks need the same classes. Defaults to 0.0.
        kwargs: The options of every :class:`Distiller`.
    """

    unfreezes_last = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        pairs: Sequence[tuple[str, str]] | None = None,
        head_from_teacher: bool = True,
        weight: float = 2.0,
        places: Sequence[str] | None = None,
        feature_loss: dict | None = None,
        alpha: float = 0.0,
        **kwargs,
    ):
        self.compares_scores = bool(check_weight('model.alpha', alpha))
        self.head_learns_from_features = not alpha
        super().__init__(student, teacher, **kwargs)
        self.pairs = pairs
        self.inheritance = Inheritance(self, head_from_teacher)
        self.mimicking = StageMimicking(self.networks, mimic_loss, stage_losses, self.inheritance.reads_one_map)
        self.features = DefaultFeatureTerm(self.networks, weight, places, feature_loss)
        self.task = task_of(self.student, self.teacher) if alpha else None
        soft = [SoftTargets(self.networks, self.task, weight=alpha)] if self.task else []
        self.objectives = [self.mimicking, OwnLoss(self.networks, [self.features, *soft], forwards=self.task)]

    def find_stages(self, inputs: Tensor) -> None:
        """Find the stages of both networks, and compare their classes where scores are compared."""
        super().find_stages(inputs)
        if self.task is not None:
            with own_randomness():
                self.task.check(inputs, self.teacher_inputs(inputs), own_scores=True)

    def default_phases(self) -> list:
        """One stage after the other, then the head (and all with it, see ``unfreezes_last``)."""
        return [stage.name for stage in self.plan if not self.networks.is_frozen(stage)]

    def left_out(self) -> tuple[str, ...]:
        """Those of a backbone with pretrained weights, where a neck learns from features as well."""
        free = [stage for stage in self.plan.stages if not self.networks.is_frozen(stage)]
        inside = tuple(stage.name for stage in free if stage.end.partition('.')[0] == 'backbone')
        has_others = len(inside) < len(free)
        return inside if has_others and has_weights('model.student', self.student) else ()
