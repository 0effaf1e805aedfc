"""Features compared by their correlation (PKD, Cao et al., arXiv 2207.02039)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.registry import MODELS


@MODELS.register_module()
class PKDLoss(nn.Module):
    """Half the mean squared difference of two features, each with mean 0 and deviation 1 in every channel of the batch.

    So it sees neither the size of the features nor of single channels, which differ between networks of two families.
    Of a pyramid it is the sum over the levels.

    Args:
        loss_weight (float): Defaults to 1.0.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The loss of two features of the same shapes."""
        for own, theirs in zip(student, teacher, strict=True):
            if own.shape != theirs.shape:
                raise UserError(f'PKDLoss: the features have the shapes {tuple(own.shape)} and {tuple(theirs.shape)}.')
        with torch.autocast(student[0].device.type, enabled=False):
            levels = [
                (_standardised(own.float()) - _standardised(theirs.detach().float())).square().mean() / 2
                for own, theirs in zip(student, teacher)
            ]
            return self.loss_weight * torch.stack(levels).sum()


def _standardised(feature: Tensor) -> Tensor:
    axes = [axis for axis in range(feature.ndim) if axis != (1 if feature.ndim == 4 else feature.ndim - 1)]
    mean = feature.mean(axes, keepdim=True)
    return (feature - mean) / (feature.std(axes, keepdim=True) + 1e-6)
