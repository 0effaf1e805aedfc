"""A linear map from one feature to another that is learned by gradients."""

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """A 1x1 convolution without bias and a batch norm: in evaluation one linear map of each position.

    Args:
        width: Of the feature that it reads.
        new_width: Of the one that it writes.
    """

    def __init__(self, width: int, new_width: int):
        super().__init__()
        self.width = width
        self.project = nn.Conv1d(width, new_width, 1, bias=False)
        self.norm = nn.BatchNorm1d(new_width)

    @property
    def weight(self) -> Tensor:
        """Of the linear map (new_width, width)."""
        return (self.project.weight[:, :, 0] * self._scale[:, None]).detach()

    @property
    def bias(self) -> Tensor:
        """Of the linear map."""
        assert self.norm.running_mean is not None
        return (self.norm.bias - self.norm.running_mean * self._scale).detach()

    @property
    def _scale(self) -> Tensor:
        assert self.norm.running_var is not None
        return self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)

    def forward(self, feature: Tensor) -> Tensor:
        """A map (N, C, H, W), or tokens (N, L, C)."""
        if feature.ndim == 4:
            return self.norm(self.project(feature.flatten(2))).unflatten(2, feature.shape[2:])
        return self.norm(self.project(feature.transpose(1, 2))).transpose(1, 2)
