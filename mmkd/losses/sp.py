"""Similarities within the batch (SP, arXiv 1907.09682)."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class SPLoss(FeatureLoss):
    """The mean squared difference of two matrices: products of the images' features, with norm 1 in each row.

    Published on the last stage. Features of any shape.

    Args:
        loss_weight (float): Defaults to 3000.0, as in RepDistiller.
    """

    alike = 'nothing'

    def __init__(self, loss_weight: float = 3000.0):
        super().__init__(loss_weight)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean squared difference."""
        return F.mse_loss(_similarities(student), _similarities(teacher))


def _similarities(feature: Tensor) -> Tensor:
    rows = feature.flatten(1)
    return F.normalize(rows @ rows.T)
