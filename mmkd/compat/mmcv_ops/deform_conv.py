"""Deformable convolutions v1 and v2, by torchvision's kernels.

``geometry`` holds mmcv's keywords: stride, padding, dilation and groups, spelled in two ways by the two versions.
"""

from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

from mmkd.compat.mmcv_ops.precision import at_least_fp32


class Steps(NamedTuple):
    """Stride, padding and dilation, each as (height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _steps_v1(geometry: dict) -> Steps:
    return Steps(*((geometry[f'{name}H'], geometry[f'{name}W']) for name in ('d', 'pad', 'dilation')))


def _steps_v2(geometry: dict) -> Steps:
    return Steps(*((geometry[f'{name}_h'], geometry[f'{name}_w']) for name in ('stride', 'pad', 'dilation')))


def _gradients(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    steps: Steps,
    geometry: dict,
) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias, in this order."""
    grad, input, weight, offset = map(at_least_fp32, (grad_output, input, weight, offset))
    no_mask = input.new_zeros(len(input), 1)
    return torch.ops.torchvision._deform_conv2d_backward(
        grad.contiguous(),
        input,
        weight,
        offset,
        no_mask if mask is None else at_least_fp32(mask),
        input.new_zeros(len(weight)),
        *steps.stride,
        *steps.padding,
        *steps.dilation,
        geometry['group'],
        geometry['deformable_group'],
        mask is not None,
    )


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **geometry
) -> None:
    """Fills ``output``; the groups follow from the shapes."""
    input, offset, weight = map(at_least_fp32, (input, offset, weight))
    output.copy_(torchvision.ops.deform_conv2d(input, offset, weight, None, *_steps_v1(geometry)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry,
) -> None:
    """Fills ``grad_input`` and ``grad_offset``."""
    grads = _gradients(grad_output, input, weight, offset, None, _steps_v1(geometry), geometry)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry,
) -> None:
    """Adds to ``grad_weight``, whose shape is all that the gradient needs of the weight."""
    grads = _gradients(grad_output, input, grad_weight, offset, None, _steps_v1(geometry), geometry)
    grad_weight.add_(grads[1], alpha=geometry['scale'])


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **geometry,
) -> None:
    """Fills ``output``; the groups follow from the shapes."""
    input, offset, weight, bias, mask = map(at_least_fp32, (input, offset, weight, bias, mask))
    output.copy_(
        torchvision.ops.deform_conv2d(
            input, offset, weight, bias if geometry['with_bias'] else None, *_steps_v2(geometry), mask
        )
    )


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **geometry,
) -> None:
    """Fills the five gradients."""
    grads = _gradients(grad_output, input, weight, offset, mask, _steps_v2(geometry), geometry)
    for target, grad in zip((grad_input, grad_weight, grad_offset, grad_mask), grads):
        target.copy_(grad)
    if geometry['with_bias']:
        grad_bias.copy_(grads[4])
