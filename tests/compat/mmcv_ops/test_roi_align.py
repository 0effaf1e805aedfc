import pytest
import torch
from mmcv.ops import roi_align

from tests.pretended import pretend_cuda


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
    assert (half.float() - full).abs().median() < 0.05  # the RoIs are rounded too
    half.float().sum().backward()
    assert feature.grad.isfinite().all()


def test_no_rois(mmcv_results):
    output = roi_align(mmcv_results['feat'], torch.zeros(0, 5), (7, 7), 0.25, 0, 'avg', True)
    assert output.shape == (0, 5, 7, 7)


@pytest.mark.parametrize('samples', [0, 2])
def test_maxima_of_some_rois_at_a_time(mmcv_results, monkeypatch, samples):
    monkeypatch.setattr('mmkd.compat.mmcv_ops.roi_align._MOST', 5 * 49 * 4 * 3)  # three RoIs with two samples per side
    output = roi_align(mmcv_results['feat'], mmcv_results['rois'], (7, 7), 0.25, samples, 'max', True)
    torch.testing.assert_close(output, mmcv_results[f'roi_max_{samples}_True'], rtol=1e-5, atol=1e-5)


def test_maxima_of_no_rois(mmcv_results):
    feature = mmcv_results['feat'].requires_grad_()
    output = roi_align(feature, torch.zeros(0, 5), (7, 7), 0.25, 0, 'max', True)
    assert output.shape == (0, 5, 7, 7)
    output.sum().backward()
    assert not feature.grad.any()


@pytest.mark.parametrize(('samples', 'waits'), [(0, 1), (2, 0)])
def test_maxima_wait_once_for_all_rois(mmcv_results, samples, waits):
    feature, rois, grad = (mmcv_results[name] for name in ('feat', 'rois', 'grad'))
    with pretend_cuda() as gpu:
        there = feature.to('cuda').requires_grad_()
        boxes, gradient = rois.to('cuda'), grad.to('cuda')
        gpu.reset()
        output = roi_align(there, boxes, (7, 7), 0.25, samples, 'max', True)
        torch.autograd.grad(output, there, gradient)
        assert gpu.waits.total() == waits, gpu.waits
        assert not gpu.blocking
    assert len(rois) > 2
