"""Neuron selectivity (NST, Huang and Wang, arXiv 1707.01219)."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import to_smaller
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class NSTLoss(FeatureLoss):
    """The maximum mean discrepancy of the channels' maps: a kernel that squares products of maps with norm 1.

    Published on the stages' ends behind their ReLU. Features of any width; the larger map is averaged to the size of
    the smaller first.

    Args:
        loss_weight (float): Defaults to 50.0, as in RepDistiller.
    """

    alike = 'nothing'

    def __init__(self, loss_weight: float = 50.0):
        super().__init__(loss_weight)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The discrepancy."""
        own, target = (F.normalize(feature.flatten(2), dim=2) for feature in to_smaller(student, teacher))
        return _kernel(target, target) + _kernel(own, own) - 2 * _kernel(own, target)


def _kernel(left: Tensor, right: Tensor) -> Tensor:
    """The mean over batch and pairs of channels."""
    return (left @ right.transpose(1, 2)).square().mean()
