"""Statistics of the batches of all processes together, as if one process had the whole of them."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, distributed
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """What every process makes of the sum depends on the tensors of all, so gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each row, of which every process holds a part, and the length of the whole rows."""
    total = _Sum.apply(torch.cat([rows.sum(1), rows.new_tensor([rows.shape[1]])]))
    mean, count = total[:-1] / total[-1], total[-1].detach()
    return mean, _Sum.apply((rows - mean[:, None]).square().sum(1)) / count, count


def deviation(tensor: Tensor) -> Tensor:
    """The standard deviation of all numbers; in training only, where all processes come here equally often."""
    if get_world_size() == 1:
        return tensor.std(correction=0)
    return moments(tensor.flatten()[None])[1].sqrt().squeeze()


class SharedBatchNorm(_BatchNorm):
    """Batch norm of (N, C, ...) that learns from the batches of all processes. torch's ``SyncBatchNorm`` needs GPUs."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def _check_input_dim(self, input: Tensor) -> None:
        """Any."""

    def forward(self, input: Tensor) -> Tensor:
        """As ever in one process and in evaluation."""
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        mean, variance, count = moments(input.float().transpose(0, 1).flatten(1))
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        shape = (1, -1, *[1] * (input.ndim - 2))
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((input - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(input.dtype)
