"""The distance of a student's scores to the teacher's."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.score_loss import ScoreLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class SoftTargetLoss(ScoreLoss):
    """The classic distillation loss (Hinton et al., arXiv 1503.02531): KL(teacher || student) of softened scores.

    Both scores are divided by ``tau`` before the softmax. The divergence is summed over the classes, averaged over the
    batch, and times ``tau`` squared, so that the gradient's size hardly depends on ``tau``; then times
    ``loss_weight``. Everything is computed in float32, under autocast too, and no gradient reaches the teacher.

    Args:
        tau (float): The temperature, a finite number above 0. Defaults to 4.0.
        loss_weight (float): A finite number that is not negative. Defaults to 1.0.
        standardise (bool): Standardise each image's scores first, by their mean and deviation over the classes (logit
            standardisation, Sun et al., arXiv 2403.01427, published with tau 2 and weight 9). Defaults to False.

    Example:
        >>> dict(type='mmkd.SoftTargetLoss', tau=2.0)
    """

    def __init__(self, tau: float = 4.0, loss_weight: float = 1.0, standardise: bool = False):
        super().__init__(tau, loss_weight, standardise)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence times the temperature squared."""
        own, target = (F.log_softmax(scores / self.tau, dim=1) for scores in (student, teacher))
        return self.tau**2 * F.kl_div(own, target, reduction='batchmean', log_target=True)
