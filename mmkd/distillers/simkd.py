"""The teacher's classifier for the student (SimKD, Chen et al., arXiv 2203.14001)."""

from collections.abc import Sequence

from mmengine.dist import all_reduce_params
from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import Inheritance
from mmkd.features.projector import Projector
from mmkd.objectives.comparison import Comparison
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.own_loss import OwnLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class SimKD(Distiller):
    """A projection of the student's last feature learns to be the teacher's; then the teacher's classifier reads it.

    No label and no score is used. The public projector, of three convolutions with ReLU, stays in the network that is
    deployed. This one is linear, a 1x1 convolution and batch norm, so that it is multiplied into the classifier in the
    end: the checkpoint is the plain student. Networks for which that is not exact are refused before the training.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        mimic_loss (dict, optional): The distance. Defaults to ``dict(type='mmkd.SimKDLoss')``.
        kwargs: The options of every :class:`Distiller`.
    """

    head_learns_from_features = True

    def __init__(self, student: dict, teacher: dict, mimic_loss: dict | None = None, **kwargs):
        super().__init__(student, teacher, **kwargs)
        self.inheritance = Inheritance(self, wanted=True, needed=True)
        comparison = Comparison(self.networks, lambda own, theirs: Projector(own.width, theirs.width))
        self.mimicking = StageMimicking(self.networks, mimic_loss or dict(type='mmkd.SimKDLoss'), comparison=comparison)
        self.objectives = [self.mimicking, OwnLoss(self.networks, [])]

    def find_stages(self, inputs: Tensor) -> None:
        """Find the last feature of both networks; all that comes before it is one stage."""
        self.networks.pair_stages(inputs)
        last = self.plan.stages[-1]
        self.pairs = [(last.end, self.networks.teacher_stages[last.name].end)]
        super().find_stages(inputs)

    def default_phases(self) -> list:
        """The last feature, to the end."""
        return [self.plan.stages[-1].name]

    def inherit_head(self, inputs: Tensor, classes: Sequence[str] = ()) -> str:
        """Multiply the projector into the teacher's head; several processes have the mean of its statistics."""
        projectors = [module for module in self.extras.modules() if isinstance(module, Projector)]
        means = [buffer for one in projectors for buffer in one.buffers() if buffer.is_floating_point()]
        all_reduce_params(means, op='mean')
        return super().inherit_head(inputs, classes)
