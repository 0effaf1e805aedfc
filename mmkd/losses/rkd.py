"""Relations between images (RKD, Park et al., arXiv 1904.05068)."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import check_weight
from mmkd.losses.feature_loss import FeatureLoss
from mmkd.registry import MODELS


@MODELS.register_module()
class RKDLoss(FeatureLoss):
    """Differences of the distances between any two images and of the angles among any three, each by smooth L1.

    Distances are in units of their mean. Published on pooled features or class scores. Features of any shape. The
    defaults are RepDistiller's; MMRazor has the same weights, but normalises each feature first.

    Args:
        distance (float): The weight of the distances. Defaults to 25.0.
        angle (float): The weight of the angles. Defaults to 50.0.
        loss_weight (float): Of both. Defaults to 1.0.
    """

    alike = 'nothing'

    def __init__(self, distance: float = 25.0, angle: float = 50.0, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.distance = check_weight(self.name, 'distance', distance)
        self.angle = check_weight(self.name, 'angle', angle)

    def pair(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Both differences, weighted."""
        own, target = (_differences(feature.flatten(1)) for feature in (student, teacher))
        distances = F.smooth_l1_loss(_distances(own), _distances(target))
        return self.distance * distances + self.angle * F.smooth_l1_loss(_cosines(own), _cosines(target))


def _differences(rows: Tensor) -> Tensor:
    """From each image to each other."""
    return rows[None] - rows[:, None]


def _distances(differences: Tensor) -> Tensor:
    """In units of the mean of those that are positive."""
    squares = differences.square().sum(2)
    others = 1 - torch.eye(len(squares), device=squares.device, dtype=squares.dtype)
    distances = squares.clamp(min=1e-12).sqrt() * others
    return distances / (distances.sum() / others.sum())


def _cosines(differences: Tensor) -> Tensor:
    """Of the angle at each image between each two others."""
    directions = F.normalize(differences, dim=2)
    return directions @ directions.transpose(1, 2)
