"""Knowledge distillation by soft targets (Hinton et al., arXiv 1503.02531): everybody's first baseline."""

from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.distillers.scores import check_taught, check_weight, count_classes, student_outcome, teacher_outcome
from mmkd.random_state import own_randomness
from mmkd.registry import MODELS
from mmkd.stages import plan_stages


@MODELS.register_module()
class KD(Distiller):
    """The student learns the teacher's softened class scores, next to its own loss.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        soft_loss (dict): The distance between scores. Defaults to ``dict(type='mmkd.SoftTargetLoss')``.
        gamma (float): The weight of the student's own losses. Defaults to 0.1.
        alpha (float): The weight of the soft loss. Defaults to 0.9.
        data_preprocessor (dict, optional): Passed on by the Runner.
    """

    teacher_parts = ('backbone', 'neck', 'head')

    def __init__(
        self,
        student: dict,
        teacher: dict,
        soft_loss: dict | None = None,
        gamma: float = 0.1,
        alpha: float = 0.9,
        data_preprocessor: dict | None = None,
    ):
        super().__init__(student, teacher, data_preprocessor)
        self.soft_loss = MODELS.build(soft_loss or dict(type='mmkd.SoftTargetLoss'))
        self.gamma = check_weight('model.gamma', gamma)
        self.alpha = check_weight('model.alpha', alpha)
        check_taught(gamma, alpha)

    def prepare(self, inputs: Tensor) -> None:
        """Find the student's stages, for schedules that freeze some; compare the two networks' classes."""
        with own_randomness():
            self.plan = plan_stages(self.student, inputs)
            count_classes((self.student, inputs), (self.teacher.network, self.teacher_inputs(inputs)))

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The student's own losses and the soft one; the teacher runs only for a weight."""
        student = student_outcome(self.student, inputs, data_samples, self.gamma)
        if not self.alpha:
            return student.losses
        teacher = teacher_outcome(self.teacher.network, self.teacher_inputs(inputs))
        return {**student.losses, 'loss_soft': self.alpha * self.soft_loss(student.scores, teacher.scores)}
