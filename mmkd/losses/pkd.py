"""Features compared by their correlation (PKD, Cao et al., arXiv 2207.02039)."""

from torch import Tensor

from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """Half the mean squared difference of two features, each with mean 0 and deviation 1 in every channel of the batch.

    So it sees neither the size of the features nor of single channels, which differ between networks of two families.
    Of a pyramid it is the sum over the levels.

    Args:
        loss_weight (float): Defaults to 1.0. MMRazor takes 6 for Faster R-CNN, 10 for RetinaNet, FCOS and RepPoints.
    """

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Half the mean squared difference."""
        return (standardised(student) - standardised(teacher)).square().mean() / 2


def standardised(feature: Tensor) -> Tensor:
    """Each channel with mean 0 and deviation 1 over batch and positions."""
    mean, deviation = feature.mean((0, 2, 3), keepdim=True), feature.std((0, 2, 3), keepdim=True)
    return (feature - mean) / (deviation + 1e-6)
