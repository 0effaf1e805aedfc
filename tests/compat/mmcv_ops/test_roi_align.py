import pytest
import torch
from mmcv.ops import roi_align


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('samples', [0, 2])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_forward_and_backward(mmcv_results, mode, samples, aligned):
    feature = mmcv_results['feat'].requires_grad_()
    output = roi_align(feature, mmcv_results['rois'], (7, 7), 0.25, samples, mode, aligned)
    (grad,) = torch.autograd.grad(output, feature, mmcv_results['grad'])

    expected = mmcv_results[f'roi_{mode}_{samples}_{aligned}']
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, mmcv_results[f'roi_{mode}_{samples}_{aligned}_gx'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_half_precision_feature(mmcv_results, mode):
    feature = mmcv_results['feat'].bfloat16().requires_grad_()
    full = roi_align(feature.float(), mmcv_results['rois'], (7, 7), 0.25, 2, mode, True)
    half = roi_align(feature, mmcv_results['rois'].bfloat16(), (7, 7), 0.25, 2, mode, True)
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().median() < 0.05  # the RoIs themselves are rounded
    half.float().sum().backward()
    assert feature.grad.isfinite().all()


def test_no_rois(mmcv_results):
    output = roi_align(mmcv_results['feat'], torch.zeros(0, 5), (7, 7), 0.25, 0, 'avg', True)
    assert output.shape == (0, 5, 7, 7)
