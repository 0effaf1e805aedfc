"""SSKD of the detectors that mmkd serves: each stage learns what it should and nothing after it runs."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope

from mmkd.configs import load_config

pytest.importorskip('mmdet')

PAIRS = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': None,
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': None,
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco': None,
    'retinanet/retinanet_r18_fpn_1x_coco': 'retinanet/retinanet_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': None,
    'atss/atss_r50_fpn_1x_coco': None,
    'gfl/gfl_r50_fpn_1x_coco': None,
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': 'rtmdet/rtmdet_s_8xb32-300e_coco',
    'yolox/yolox_tiny_8xb8-300e_coco': 'yolox/yolox_s_8xb8-300e_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco': None,
    'pvt/retinanet_pvt-t_fpn_1x_coco': None,
    'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco': None,
    # across kinds: the teacher's pyramid has other strides, other widths, another number of levels
    'faster_rcnn/faster-rcnn_r50_fpn_2x_coco': 'retinanet/retinanet_r18_fpn_1x_coco',
    'retinanet/retinanet_r50_fpn_2x_coco': 'yolox/yolox_tiny_8xb8-300e_coco',
}


def plain_model(name: str) -> ConfigDict:
    """The detector of a config of mmdet, from scratch."""
    model = copy.deepcopy(load_config(f'mmdet::{name}.py').model)
    model['backbone'].update(init_cfg=None)
    for key, value in dict(norm_eval=False, frozen_stages=-1).items():
        if key in model['backbone']:
            model['backbone'][key] = value
    if 'norm_cfg' in model['backbone']:
        model['backbone']['norm_cfg']['requires_grad'] = True
    return model


@pytest.mark.parametrize(('student', 'teacher'), PAIRS.items(), ids=lambda name: name and name.split('/')[1])
def test_every_stage_learns_alone(student, teacher):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    init_default_scope('mmdet')
    MessageHub.get_current_instance().update_info('iter', 1)  # a Runner sets it; YOLOX's resizing reads it
    config = dict(model=plain_model(teacher or student), default_scope='mmdet')
    distiller = MODELS.build(
        dict(type='mmkd.SSKD', student=plain_model(student), teacher=dict(config=config, checkpoint=None))
    )
    distiller.init_weights()
    batch = demo_mm_inputs(2, [[3, 64, 64], [3, 64, 96]], with_mask='mask' in student)
    data = distiller.data_preprocessor(batch, training=True)
    distiller.prepare(data['inputs'])
    phases = [(name,) for name in distiller.default_phases()]
    distiller.equip(phases)
    assert [stage.end for stage in distiller.plan.stages][-1] == 'neck'
    ran = []
    for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        for name, part in network.named_children():
            if name not in ('data_preprocessor', 'backbone', 'neck'):
                for module in part.modules():
                    if not list(module.children()):
                        module.register_forward_hook(lambda *_, whose=whose: ran.append(whose))

    trained = {id(parameter) for parameter in distiller.student.parameters()}
    for phase, stage in zip(phases, distiller.plan, strict=True):
        distiller.enter(phase)
        distiller.train()
        distiller.zero_grad()
        ran.clear()
        total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
        total.backward()
        assert total.isfinite()
        assert set(ran) == ({'student'} if stage is distiller.plan.head else set())
        learned = {name for name, parameter in distiller.student.named_parameters() if parameter.grad is not None}
        assert learned <= set(stage.parameters)
        if stage is not distiller.plan.head:
            assert learned == set(stage.parameters)
            assert all(p.grad is not None for extra in distiller.trained_extras() for p in extra.parameters())
    assert trained == {id(parameter) for parameter in distiller.student.parameters()}
    assert all(parameter.grad is None for parameter in distiller.teacher.network.parameters())
