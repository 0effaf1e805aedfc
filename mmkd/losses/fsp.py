"""Flow between layers (FSP, Yim et al., CVPR 2017)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError
from mmkd.losses.common import Shape, to_smaller
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class FSPLoss(FeatureLoss):
    """The mean squared difference of matrices of flow: products of the channels of two maps, a mean over positions.

    The maps are neighbours in the list of places, the larger averaged to the size of the smaller; the values are
    summed. Both networks must have the same widths there. Published alone for the first 30 epochs, with weight 1.

    Args:
        loss_weight (float): Defaults to 1.0, as in RepDistiller.
    """

    at_once = True

    def build(self, student: Sequence[Shape], teacher: Sequence[Shape]) -> None:
        """Refuse a single place."""
        if len(student) < 2:
            raise UserError(f'{self.name}: it compares what lies between places; name two at least.')

    def compare(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """The sum over neighbours."""
        flows = zip(_flows(student), _flows(teacher))
        return torch.stack([F.mse_loss(own, target) for own, target in flows]).sum()


def _flows(maps: list[Tensor]) -> list[Tensor]:
    pairs = [to_smaller(*pair) for pair in pairwise(maps)]
    return [later.flatten(2) @ first.flatten(2).transpose(1, 2) / first[0, 0].numel() for first, later in pairs]
