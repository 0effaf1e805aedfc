"""Variational information (VID, Ahn et al., arXiv 1904.05835)."""

from itertools import pairwise
from math import exp, log

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.losses.common import check_above_zero, to_smaller
from mmkd.losses.feature_loss import LearnedFeatureLoss
from mmkd.registry import MODELS

LEAST = 1e-5  # of a variance


class _Gaussian(nn.Module):
    """The teacher's feature as the student's predicts it, with a variance for each channel."""

    def __init__(self, student: int, teacher: int, variance: float):
        super().__init__()
        widths = (student, teacher, teacher, teacher)
        convolutions = [nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths)]
        self.mean = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])
        self.log_scale = nn.Parameter(torch.full((teacher,), log(exp(variance - LEAST) - 1)))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The mean negative log likelihood, without its constant."""
        student, teacher = to_smaller(student, teacher)
        variance = (F.softplus(self.log_scale) + LEAST)[:, None, None]
        return ((self.mean(student) - teacher).square() / variance + variance.log()).mean() / 2


@MODELS.register_module()
class VIDLoss(LearnedFeatureLoss):
    """How unlikely the teacher's feature is in a normal distribution around what is predicted from the student's.

    The mean is predicted by three 1x1 convolutions; each channel has a learned variance. Published on the stages' ends
    behind their ReLU. Features of any width; the larger map is averaged to the size of the smaller first. (mdistiller
    does not learn the variances.)

    Args:
        variance (float): At the start. Defaults to 5.0, as in RepDistiller.
        loss_weight (float): Defaults to 1.0.
    """

    def __init__(self, variance: float = 5.0, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.variance = check_above_zero(self.name, 'variance', variance)

    def part(self, student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
        """The distribution for maps of these shapes."""
        return _Gaussian(student[0], teacher[0], self.variance)
