"""Knowledge distillation by soft targets (Hinton et al., arXiv 1503.02531)."""

from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.objectives.options import check_taught
from mmkd.objectives.own_loss import OwnLoss
from mmkd.objectives.soft_targets import SoftTargets
from mmkd.registry import MODELS
from mmkd.tasks import task_of
from mmkd.utils.numbers import check_weight
from mmkd.utils.random_state import own_randomness


@MODELS.register_module()
class KD(Distiller):
    """The student learns the teacher's class scores, softened for classifiers, next to its own loss.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        soft_loss (dict, optional): The distance between scores. Defaults to ``dict(type='mmkd.SoftTargetLoss')`` for
            classifiers, ``dict(type='mmkd.ClassScoreLoss')`` for detectors.
        gamma (float, optional): The weight of the student's own losses. Defaults to 0.1 for classifiers, 1.0 for
            detectors.
        alpha (float, optional): The weight of the soft loss. Defaults to 0.9 for classifiers, 1.0 for detectors.
        kwargs: The options of every :class:`Distiller`.
    """

    compares_scores = True
    learns_scores_only = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        soft_loss: dict | None = None,
        gamma: float | None = None,
        alpha: float | None = None,
        **kwargs,
    ):
        super().__init__(student, teacher, **kwargs)
        self.task = task_of(self.student, self.teacher)
        self.soft_targets = SoftTargets(self.networks, self.task, soft_loss, alpha)
        self.gamma = check_weight('model.gamma', self.task.gamma if gamma is None else gamma)
        check_taught(self.gamma, self.soft_targets.weight)
        self.task.check_options(self.gamma)
        self.objectives = [OwnLoss(self.networks, [self.soft_targets], self.gamma, self.task)]

    def find_stages(self, inputs: Tensor) -> None:
        """Find the student's stages, for schedules that freeze some; compare the two networks' classes."""
        self.networks.find_stages(inputs)
        with own_randomness():
            self.task.check(inputs, self.teacher_inputs(inputs), own_scores=bool(self.soft_targets.weight))
