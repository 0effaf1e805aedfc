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
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco': 'yolo/yolov3_d53_8xb8-320-273e_coco',
    'retinanet/retinanet_r18_fpn_1x_coco on MobileNetV2': 'retinanet/retinanet_r50_fpn_1x_coco',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco on ResNeXt': 'retinanet/retinanet_r18_fpn_1x_coco on MobileNetV2',
    # across kinds: the teacher's pyramid has other strides, other widths, another number of levels
    'faster_rcnn/faster-rcnn_r50_fpn_2x_coco': 'retinanet/retinanet_r18_fpn_1x_coco',
    'retinanet/retinanet_r50_fpn_2x_coco': 'yolox/yolox_tiny_8xb8-300e_coco',
}
BACKBONES = {  # and the widths of their outputs
    'MobileNetV2': (dict(type='MobileNetV2', out_indices=(1, 2, 4, 6)), [24, 32, 96, 320]),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=32, base_width=4, norm_eval=False), [256, 512, 1024, 2048]),
}


def plain_model(name: str) -> ConfigDict:
    """The detector of a config of mmdet, from scratch, perhaps on another backbone."""
    name, _, backbone = name.partition(' on ')
    model = copy.deepcopy(load_config(f'mmdet::{name}.py').model)
    if backbone:
        model['backbone'], model['neck']['in_channels'] = copy.deepcopy(BACKBONES[backbone])
    model['backbone'].update(init_cfg=None)
    for key, value in dict(norm_eval=False, frozen_stages=-1).items():
        if key in model['backbone']:
            model['backbone'][key] = value
    if 'norm_cfg' in model['backbone']:
        model['backbone']['norm_cfg']['requires_grad'] = True
    return model


def prepared(student: str, teacher: str | None = None, **teacher_preprocessor):
    """A distiller that knows its stages, and a batch."""
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    init_default_scope('mmdet')
    MessageHub.get_current_instance().update_info('iter', 1)  # a Runner sets it; YOLOX's resizing reads it
    config = dict(model=plain_model(teacher or student), default_scope='mmdet')
    config['model']['data_preprocessor'].update(teacher_preprocessor)
    distiller = MODELS.build(
        dict(type='mmkd.SSKD', student=plain_model(student), teacher=dict(config=config, checkpoint=None))
    )
    distiller.init_weights()
    batch = demo_mm_inputs(2, [[3, 64, 64], [3, 64, 96]], with_mask='mask' in student)
    data = distiller.data_preprocessor(batch, training=True)
    distiller.prepare(data['inputs'])
    distiller.equip([(name,) for name in distiller.default_phases()])
    return distiller, data


def learn(distiller, stage, data, amp: bool = False) -> set[str]:
    """The forward and the backward pass of a stage; which of the student's parameters got a gradient."""
    distiller.enter([stage.name])
    distiller.train()
    distiller.zero_grad()
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in distiller.parameters() if p.grad is not None)
    learned = {name for name, parameter in distiller.student.named_parameters() if parameter.grad is not None}
    assert learned <= set(stage.parameters)
    if stage is not distiller.plan.head:
        assert learned == set(stage.parameters)
        assert all(p.grad is not None for extra in distiller.trained_extras() for p in extra.parameters())
    return learned


@pytest.mark.parametrize(('student', 'teacher'), PAIRS.items(), ids=lambda name: name and name.split('/')[1])
def test_every_stage_learns_alone(student, teacher):
    distiller, data = prepared(student, teacher)
    assert distiller.plan.stages[-1].end == 'neck'
    assert distiller.default_phases() == [stage.name for stage in distiller.plan]
    ran = []
    for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        for name, part in network.named_children():
            if name not in ('data_preprocessor', 'backbone', 'neck'):
                for module in part.modules():
                    if not list(module.children()):
                        module.register_forward_hook(lambda *_, whose=whose: ran.append(whose))

    trained = {id(parameter) for parameter in distiller.student.parameters()}
    for stage in distiller.plan:
        ran.clear()
        learn(distiller, stage, data)
        assert set(ran) == ({'student'} if stage is distiller.plan.head else set())
    assert trained == {id(parameter) for parameter in distiller.student.parameters()}
    assert all(parameter.grad is None for parameter in distiller.teacher.network.parameters())


# whose operators the stand-in for mmcv's has: RoIAlign, deformable convolutions and attention
OPERATORS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco',
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
]


@pytest.mark.parametrize('name', OPERATORS, ids=lambda name: name.split('/')[1])
def test_mixed_precision_in_every_stage(name):
    distiller, data = prepared(name)
    for stage in distiller.plan:
        assert learn(distiller, stage, data, amp=True)


def test_the_teacher_sees_its_own_padding_in_training_and_validation():
    distiller, data = prepared('retinanet/retinanet_r18_fpn_1x_coco', pad_value=7)
    seen = []
    distiller.teacher.network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    distiller.enter(['layer1'])
    distiller(**data, mode='loss')
    distiller.measure(**data)
    assert len(seen) == 2
    for images in seen:
        assert (images[0, :, :, 64:] == 7).all()
        assert torch.equal(images[:, :, :, :64], data['inputs'][:, :, :, :64])
        assert torch.equal(images[1], data['inputs'][1])
