import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
def test_nms(mmcv_results, threshold):
    dets, inds = nms(mmcv_results['boxes'], mmcv_results['scores'], threshold)
    torch.testing.assert_close(dets, mmcv_results[f'nms_{threshold}_dets'], rtol=0, atol=0)
    assert inds.tolist() == mmcv_results[f'nms_{threshold}_inds'].tolist()


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
def test_nms_on_inclusive_pixels(mmcv_results, threshold):
    _, inds = nms(mmcv_results['boxes'], mmcv_results['scores'], threshold, offset=1)
    assert inds.tolist() == mmcv_results[f'nms_off1_{threshold}_inds'].tolist()


def test_nms_with_score_threshold_and_maximum(mmcv_results):
    dets, inds = nms(mmcv_results['boxes'], mmcv_results['scores'], 0.5, score_threshold=0.3, max_num=5)
    torch.testing.assert_close(dets, mmcv_results['nms_thr_dets'], rtol=0, atol=0)
    assert inds.tolist() == mmcv_results['nms_thr_inds'].tolist()


@pytest.mark.parametrize(
    ('name', 'options', 'agnostic'),
    [
        ('batched', dict(type='nms', iou_threshold=0.5), False),
        ('batched_agn', dict(type='nms', iou_threshold=0.5, max_num=7), True),
    ],
)
def test_batched_nms(mmcv_results, name, options, agnostic):
    dets, inds = batched_nms(
        mmcv_results['boxes'], mmcv_results['scores'], mmcv_results['labels'], options, class_agnostic=agnostic
    )
    torch.testing.assert_close(dets, mmcv_results[f'{name}_dets'], rtol=0, atol=0)
    assert inds.tolist() == mmcv_results[f'{name}_inds'].tolist()


@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_soft_nms(mmcv_results, method):
    dets, inds = soft_nms(
        mmcv_results['boxes'], mmcv_results['scores'], iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method
    )
    torch.testing.assert_close(dets, mmcv_results[f'soft_{method}_dets'])
    assert inds.tolist() == mmcv_results[f'soft_{method}_inds'].tolist()


def test_nms_match(mmcv_results):
    dets = torch.cat([mmcv_results['boxes'], mmcv_results['scores'][:, None]], 1)
    groups = [group.tolist() for group in nms_match(dets, 0.5)]
    assert [len(group) for group in groups] == mmcv_results['match_len'].tolist()
    assert [index for group in groups for index in group] == mmcv_results['match_flat'].tolist()


@pytest.mark.parametrize('op', [lambda b, s: nms(b, s, 0.5), lambda b, s: soft_nms(b, s, 0.5)])
def test_no_boxes_give_no_boxes(op):
    dets, inds = op(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert inds.shape == (0,)


def test_half_precision_scores_with_full_precision_boxes(mmcv_results):
    _, inds = nms(mmcv_results['boxes'], mmcv_results['scores'].bfloat16().float(), 0.5)
    _, half = nms(mmcv_results['boxes'].double(), mmcv_results['scores'].bfloat16(), 0.5)
    assert half.tolist() == inds.tolist()
