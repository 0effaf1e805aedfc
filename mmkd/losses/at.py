"""Maps of attention (AT, Zagoruyko and Komodakis, arXiv 1612.03928)."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import to_smaller
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class ATLoss(FeatureLoss):
    """The mean squared difference of two maps of attention: the mean of the squared channels, with norm 1 an image.

    Published on the stages' ends behind their ReLU. Features of any width; the larger map is averaged to the size of
    the smaller first.

    Args:
        loss_weight (float): Defaults to 1000.0, as in the authors' code and RepDistiller.
    """

    alike = 'nothing'

    def __init__(self, loss_weight: float = 1000.0):
        super().__init__(loss_weight)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean squared difference."""
        own, target = (_attention(feature) for feature in to_smaller(student, teacher))
        return F.mse_loss(own, target)


def _attention(feature: Tensor) -> Tensor:
    return F.normalize(feature.square().mean(1).flatten(1))
