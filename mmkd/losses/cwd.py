"""Channels as distributions over positions (CWD, Shu et al., arXiv 2011.13256)."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import check_above_zero
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class CWDLoss(FeatureLoss):
    """The divergence of each channel's softmax over the positions, times ``tau`` squared; the mean over the channels.

    The defaults are MMRazor's for detectors' pyramids; for segmentation it takes ``loss_weight=5`` on the class scores.

    Args:
        tau (float): The temperature. Defaults to 1.0.
        loss_weight (float): Defaults to 10.0.
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 10.0):
        super().__init__(loss_weight)
        self.tau = check_above_zero(self.name, 'tau', tau)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean divergence of a channel."""
        own, target = ((feature.flatten(2).flatten(0, 1) / self.tau).log_softmax(1) for feature in (student, teacher))
        return self.tau**2 * F.kl_div(own, target, reduction='batchmean', log_target=True)
