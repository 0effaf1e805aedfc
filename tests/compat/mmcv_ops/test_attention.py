"""The op that mmcv calls on a GPU gives the results of the Python version that mmcv calls on a CPU."""

import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)


def test_forward_and_backward():
    torch.manual_seed(0)
    shapes = torch.tensor([[6, 5], [3, 2]])
    starts = torch.tensor([0, 30])
    inputs = [torch.rand(2, 36, 4, 8), torch.rand(2, 9, 4, 2, 3, 2), torch.rand(2, 9, 4, 2, 3)]

    def gradients(function):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        output = function(*leaves)
        return output, torch.autograd.grad(output.square().sum(), leaves)

    expected, expected_grads = gradients(
        lambda value, places, weights: multi_scale_deformable_attn_pytorch(value, shapes, places, weights)
    )
    output, grads = gradients(
        lambda value, places, weights: MultiScaleDeformableAttnFunction.apply(
            value, shapes, starts, places, weights, 64
        )
    )
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    torch.testing.assert_close(grads, expected_grads)
