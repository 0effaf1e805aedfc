import pytest
import torch
from mmcv.ops import deform_conv2d, modulated_deform_conv2d


def test_deform_conv_forward(mmcv_results):
    output = deform_conv2d(
        mmcv_results['dcn_x'], mmcv_results['dcn_off'], mmcv_results['dcn_w'], 1, 1, 1, 1, 1, False, 2
    )
    torch.testing.assert_close(output, mmcv_results['dcn_y'], rtol=1e-5, atol=1e-5)


def test_modulated_deform_conv_forward_and_backward(mmcv_results):
    inputs = [mmcv_results[f'dcn_{name}'].requires_grad_() for name in ('x', 'off', 'mask', 'w')]
    output = modulated_deform_conv2d(*inputs, mmcv_results['dcn_bias'], 1, 1, 1, 1, 1)
    torch.testing.assert_close(output, mmcv_results['mdcn_y'], rtol=1e-5, atol=1e-5)
    for name, grad in zip(('x', 'off', 'mask', 'w'), torch.autograd.grad(output.sum(), inputs)):
        torch.testing.assert_close(grad, mmcv_results[f'mdcn_g{name}'], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('stride', 'padding', 'dilation', 'groups', 'offset_groups'),
    [(1, 1, 1, 1, 1), (2, 0, 1, 2, 1), (1, 2, 2, 1, 2), ((2, 1), (1, 2), (1, 2), 2, 2)],
)
def test_deform_conv_backward_by_finite_differences(stride, padding, dilation, groups, offset_groups):
    torch.manual_seed(0)
    feature = torch.randn(2, 4, 7, 6, dtype=torch.double)
    weight = torch.randn(4, 4 // groups, 3, 3, dtype=torch.double)
    size = torch.nn.functional.conv2d(feature, weight, None, stride, padding, dilation, groups).shape[2:]
    offset = torch.rand(2, 18 * offset_groups, *size, dtype=torch.double) * 0.6 + 0.2
    inputs = [tensor.requires_grad_() for tensor in (feature, offset, weight)]
    assert torch.autograd.gradcheck(
        lambda *args: deform_conv2d(*args, stride, padding, dilation, groups, offset_groups, False, 2), inputs
    )


def test_no_offset_is_a_plain_convolution():
    feature, weight = torch.randn(1, 4, 9, 8), torch.randn(6, 4, 3, 3)
    plain = torch.nn.functional.conv2d(feature, weight, stride=2, padding=1)
    offset = torch.zeros(1, 18, *plain.shape[2:])
    torch.testing.assert_close(deform_conv2d(feature, offset, weight, 2, 1), plain, rtol=1e-5, atol=1e-5)


def test_half_precision():
    feature, weight = torch.randn(1, 4, 9, 8).bfloat16().requires_grad_(), torch.randn(6, 4, 3, 3).bfloat16()
    output = deform_conv2d(feature, torch.zeros(1, 18, 9, 8).bfloat16(), weight, 1, 1)
    output.sum().backward()
    assert output.dtype == feature.grad.dtype == torch.bfloat16
