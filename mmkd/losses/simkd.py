"""The plain squared difference of two features (SimKD, Chen et al., arXiv 2203.14001)."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class SimKDLoss(FeatureLoss):
    """The mean squared difference over all numbers. The projector before it is :class:`mmkd.SimKD`'s.

    Args:
        loss_weight (float): Defaults to 1.0, as the authors'.
    """

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean squared difference."""
        return F.mse_loss(student, teacher)
