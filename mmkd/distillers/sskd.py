"""Stage-by-stage knowledge distillation (Gao et al., arXiv 1812.01819)."""

from collections.abc import Sequence

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import Inheritance
from mmkd.objectives.default_feature_term import DefaultFeatureTerm
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.own_loss import OwnLoss
from mmkd.registry import MODELS


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
        kwargs: The options of every :class:`Distiller`.
    """

    head_learns_from_features = True
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
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        self.pairs = pairs
        self.inheritance = Inheritance(self, head_from_teacher)
        self.mimicking = StageMimicking(self.networks, mimic_loss, stage_losses, self.inheritance.reads_one_map)
        self.features = DefaultFeatureTerm(self.networks, weight, places, feature_loss)
        self.objectives = [self.mimicking, OwnLoss(self.networks, [self.features])]

    def default_phases(self) -> list:
        """One stage after the other, then the head (and all with it, see ``unfreezes_last``)."""
        return [stage.name for stage in self.plan if not self.networks.is_frozen(stage)]
