"""The detectors that mmkd supports, from mmdet's own configs: one training step and one prediction each."""

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope

from mmkd.utils.configs import load_config

pytest.importorskip('mmdet')

DETECTORS = [
    'atss/atss_r50_fpn_1x_coco',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco',
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'retinanet/retinanet_r18_fpn_1x_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco',
    'yolox/yolox_tiny_8xb8-300e_coco',
]


@pytest.mark.parametrize('name', DETECTORS, ids=lambda name: name.split('/')[1])
def test_trains_and_predicts(name):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    cfg = load_config(f'mmdet::{name}.py')
    init_default_scope('mmdet')
    MessageHub.get_current_instance().update_info('iter', 1)  # a Runner sets this, and YOLOX's resizing reads it
    cfg.model.backbone.init_cfg = None  # download nothing
    model = MODELS.build(cfg.model)
    model.init_weights()  # otherwise the level embedding of Deformable DETR is uninitialised memory
    batch = demo_mm_inputs(2, [[3, 64, 64], [3, 64, 96]], with_mask='mask' in name)

    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    grads = [parameter.grad for parameter in model.backbone.parameters() if parameter.requires_grad]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    assert any(grad.abs().sum() > 0 for grad in grads)

    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(batch, training=False), mode='predict')
    for result in results:
        instances = result.pred_instances
        assert instances.bboxes.shape == (len(instances.scores), 4)
        assert instances.scores.isfinite().all()
