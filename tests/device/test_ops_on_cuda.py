"""On the device, the stand-ins for mmcv's ops compute what mmcv's own compiled ops computed."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmcv.ops')
from mmcv.ops import batched_nms, deform_conv2d, modulated_deform_conv2d, nms, nms_match, roi_align, soft_nms


@pytest.fixture(scope='module')
def expected(device):
    arrays = np.load(Path(__file__).parents[1] / 'data' / 'mmcv_ops_fixtures.npz')
    return {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}


def same(found, wanted, exact: bool = True) -> None:
    options = dict(rtol=0, atol=0) if exact else dict(rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, wanted, **options, check_dtype=False)


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
@pytest.mark.parametrize('offset', [0, 1])
def test_nms(expected, threshold, offset):
    dets, inds = nms(expected['boxes'], expected['scores'], threshold, offset=offset)
    same(inds, expected[f'nms_{"off1_" if offset else ""}{threshold}_inds'])
    assert dets.device == inds.device == expected['boxes'].device


@pytest.mark.parametrize('agnostic', [False, True])
def test_batched_nms(expected, agnostic):
    options = dict(type='nms', iou_threshold=0.5, **(dict(max_num=7) if agnostic else {}))
    found = batched_nms(expected['boxes'], expected['scores'], expected['labels'], options, class_agnostic=agnostic)
    name = 'batched_agn' if agnostic else 'batched'
    for tensor, part in zip(found, ('dets', 'inds')):
        same(tensor, expected[f'{name}_{part}'])


@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_soft_nms(expected, method):
    options = dict(iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method)
    dets, inds = soft_nms(expected['boxes'], expected['scores'], **options)
    same(dets, expected[f'soft_{method}_dets'], exact=False)
    same(inds, expected[f'soft_{method}_inds'])


def test_nms_match(expected):
    dets = torch.cat([expected['boxes'], expected['scores'][:, None]], 1)
    groups = [group.tolist() for group in nms_match(dets, 0.5)]
    assert [index for group in groups for index in group] == expected['match_flat'].tolist()


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('samples', [0, 2])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align(expected, mode, samples, aligned):
    feature = expected['feat'].clone().requires_grad_()
    output = roi_align(feature, expected['rois'], (7, 7), 0.25, samples, mode, aligned)
    (grad,) = torch.autograd.grad(output, feature, expected['grad'])
    same(output, expected[f'roi_{mode}_{samples}_{aligned}'], exact=False)
    same(grad, expected[f'roi_{mode}_{samples}_{aligned}_gx'], exact=False)


def test_deformable_convolution(expected):
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        output = deform_conv2d(expected['dcn_x'], expected['dcn_off'], expected['dcn_w'], 1, 1, 1, 1, 1, False, 2)
    same(output, expected['dcn_y'], exact=False)


def test_modulated_deformable_convolution(expected):
    inputs = [expected[f'dcn_{name}'].clone().requires_grad_() for name in ('x', 'off', 'mask', 'w')]
    output = modulated_deform_conv2d(*inputs, expected['dcn_bias'], 1, 1, 1, 1, 1)
    same(output, expected['mdcn_y'], exact=False)
    for name, grad in zip(('x', 'off', 'mask', 'w'), torch.autograd.grad(output.sum(), inputs)):
        same(grad, expected[f'mdcn_g{name}'], exact=False)
