"""Knowledge distillation by soft targets (Hinton et al., arXiv 1503.02531)."""

from functools import partial

from torch import Tensor, nn

from mmkd.distillers.base import Distiller
from mmkd.distillers.options import check_taught, check_weight
from mmkd.registry import MODELS
from mmkd.stages.pairing import plan_of
from mmkd.stages.phases import Phase
from mmkd.tasks import task_of
from mmkd.utils.random_state import own_randomness

SOFT_LOSS = 'soft_loss'


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
        channels_last (bool): Keep convolutions' weights, and so their features, in memory with the channels last.
            Defaults to False.
        compile (bool | dict): Compile the parts of both networks that a stage runs as a whole, with these options of
            ``torch.compile``. Defaults to False.
        data_preprocessor (dict, optional): Passed on by the Runner.
        frozen_dtype (str, optional): While training, what is frozen of both networks runs in it, ``'bfloat16'`` or
            ``'float16'``; what learns, and all losses, stay in float32. Defaults to None: in float32, too.
        cuda_graph (bool): Replay forward and backward of an iteration from a CUDA graph, where that is possible.
            Defaults to False.
    """

    compares_scores = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        soft_loss: dict | None = None,
        gamma: float | None = None,
        alpha: float | None = None,
        channels_last: bool = False,
        compile: bool | dict = False,
        data_preprocessor: dict | None = None,
        frozen_dtype: str | None = None,
        cuda_graph: bool = False,
    ):
        super().__init__(student, teacher, channels_last, compile, data_preprocessor, frozen_dtype, cuda_graph)
        self.task = task_of(self.student, self.teacher)
        with own_randomness():
            self.extras[SOFT_LOSS] = MODELS.build(soft_loss or self.task.soft_loss)
        self.gamma = check_weight('model.gamma', self.task.gamma if gamma is None else gamma)
        self.alpha = check_weight('model.alpha', self.task.alpha if alpha is None else alpha)
        check_taught(self.gamma, self.alpha)
        self.task.check_options(self.gamma)

    def prepare(self, inputs: Tensor) -> None:
        """Find the student's stages, for schedules that freeze some; compare the two networks' classes."""
        with own_randomness():
            self.plan = plan_of('student', self.student, self.padded_for_both(inputs))
            self.teacher.try_on(self.teacher_inputs(inputs))
            self.task.check(inputs, self.teacher_inputs(inputs), own_scores=bool(self.alpha))

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The student's own losses and the soft one; the teacher runs only if the soft loss has a weight."""
        return self._losses(inputs, data_samples, self.gamma)

    def learns_from_images(self, phase: Phase) -> bool:
        """The soft loss does."""
        return bool(self.alpha)

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The soft loss."""
        return self._losses(inputs, data_samples, 0)

    def _losses(self, inputs: Tensor, data_samples: list | None, gamma: float) -> dict:
        student = partial(self.task.student_outcome, inputs, data_samples, gamma)
        if not self.alpha:
            return student().losses
        teacher = partial(self.task.teacher_outcome, self.teacher_inputs(inputs, data_samples))
        own, theirs = self.task.run_both(student, teacher)
        return {**own.losses, 'loss_soft': self.alpha * self.soft_loss(own.scores, theirs.scores)}

    @property
    def soft_loss(self) -> nn.Module:
        """The distance between scores; it may have something to learn itself."""
        return self.extras[SOFT_LOSS]

    def trained_extras(self) -> list[nn.Module]:
        """The soft loss, where it has a weight."""
        return [self.soft_loss] if self.alpha else []
