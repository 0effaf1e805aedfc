"""Sigmoid focal loss over integer labels: the path that mmdet takes on a GPU."""

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import one_hot


def _losses(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    classes = logits.size(1)
    hot = one_hot(target, classes + 1)[:, :classes].to(logits.dtype)  # label ``classes`` is background
    losses = torchvision.ops.sigmoid_focal_loss(logits, hot, alpha, gamma)
    return losses * weight[target, None] if weight.numel() else losses


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fills ``output``."""
    output.copy_(_losses(input.float(), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fills ``grad_input``."""
    with torch.enable_grad():
        logits = input.detach().float().requires_grad_()
        (grad,) = torch.autograd.grad(_losses(logits, target, weight, gamma, alpha).sum(), logits)
    grad_input.copy_(grad)
