"""Feature distillation next to the student's own loss."""

from collections.abc import Sequence

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import Inheritance
from mmkd.objectives.feature_term import FeatureTerm
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.own_loss import OwnLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class FeatureKD(Distiller):
    """The student's own loss and, beside it, the distance of its features to the teacher's, from the start.

    It has the options of :class:`SSKD`, and the same objectives, without stages that learn first. Where the schedule
    has single stages, the two are the same.
    """

    head_learns_from_features = True
    unfreezes_last = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        weight: float = 2.0,
        places: Sequence[str] | None = None,
        feature_loss: dict | None = None,
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        pairs: Sequence[tuple[str, str]] | None = None,
        head_from_teacher: bool = True,
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        self.pairs = pairs
        self.inheritance = Inheritance(self, head_from_teacher)
        self.features = FeatureTerm(self.networks, weight, places, feature_loss)
        self.mimicking = StageMimicking(self.networks, mimic_loss, stage_losses, self.inheritance.reads_one_map)
        self.objectives = [self.mimicking, OwnLoss(self.networks, [self.features])]
