"""A linear map from one feature to another, fitted to the last batches."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.utils.autocast import without_autocast

_RIDGE = 1e-4  # relative to the mean variance: avoids large weights for channels that are nearly alike or always 0
_LONGEST = 0.98  # the mean over batches forgets at least 1/50 per batch


class LeastSquares(nn.Module):
    """Maps rows of ``width`` numbers to ``new_width``, by the least-squares fit to the batches seen last.

    It has no parameters for an optimizer, so it needs no learning rate and no initial weights: in training mode
    :meth:`observe` updates means of products over the batches and solves for weight and bias. The mean covers more
    batches as training goes on, since features change less and less. Several processes sum over all of them, so they
    have the same map.
    """

    weight: Tensor
    bias: Tensor
    moments: Tensor
    batches: Tensor
    shift: Tensor

    def __init__(self, width: int, new_width: int):
        super().__init__()
        self.width = width
        self.register_buffer('weight', torch.zeros(new_width, width))
        self.register_buffer('bias', torch.zeros(new_width))
        self.register_buffer('moments', torch.zeros(width + 1, width + 1 + new_width))
        self.register_buffer('batches', torch.zeros(()))
        self.register_buffer('shift', torch.zeros(width + new_width))  # the first means, since large means cost digits

    @torch.no_grad()
    def observe(self, rows: Tensor, targets: Tensor) -> None:
        """Add (rows, width) and their targets (rows, new_width) to the fit."""
        with without_autocast(rows):
            pairs = torch.cat([rows.float(), targets.float()], dim=1)
            ones = pairs.new_ones(len(pairs), 1)
            sums = torch.cat([pairs, ones], dim=1).sum(0)
            all_reduce(sums)
            self.shift.copy_(torch.where(self.batches == 0, sums[:-1] / sums[-1], self.shift))
            own, other = (pairs - self.shift).split([self.width, len(self.bias)], dim=1)
            inputs = torch.cat([own, ones], dim=1)
            sums = inputs.T @ torch.cat([inputs, other], dim=1)
            all_reduce(sums)
            self.batches += 1
            keep = ((self.batches - 1) / (self.batches + 8)).clamp(max=_LONGEST)
            self.moments.lerp_(sums / sums[-1, -1 - targets.shape[1]], 1 - keep)
            self._solve()

    def _solve(self) -> None:
        """Ridge regression on the centred products."""
        products, mean = self.moments[:-1].double(), self.moments[-1].double()
        covariance = products - mean[: self.width, None] * mean[None]
        covariance = torch.cat([covariance[:, : self.width], covariance[:, self.width + 1 :]], dim=1)
        own, cross = covariance.split([self.width, covariance.shape[1] - self.width], dim=1)
        ridge = _RIDGE * own.diagonal().mean().clamp(min=1e-12)
        own = own + ridge * torch.eye(self.width, dtype=own.dtype, device=own.device)
        factor, _ = torch.linalg.cholesky_ex(own)  # unlike solve, this does not make the host wait
        weight = torch.cholesky_solve(cross, factor)
        mean[: self.width] += self.shift[: self.width]
        bias = mean[self.width + 1 :] + self.shift[self.width :] - mean[: self.width] @ weight
        # new tensors, since a second batch may come before the gradient of the first is computed
        self.weight, self.bias = weight.T.contiguous().to(self.weight), bias.to(self.bias)

    def forward(self, feature: Tensor) -> Tensor:
        """Map (N, C, H, W), or rows (..., C)."""
        if feature.ndim == 4:
            return F.conv2d(feature, self.weight[:, :, None, None], self.bias)
        return F.linear(feature, self.weight, self.bias)
