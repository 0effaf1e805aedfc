"""SSKD of the detectors that mmkd supports: each stage trains its parameters, and nothing after it runs."""

import math
from functools import partial

import pytest
import torch
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.features.adapters import module_key
from mmkd.heads.inherited import CannotInherit
from tests.mmdet_detectors import as_in_a_run, batches_for, changed, learn, log_calls, plain_model, snapshot

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
    # across kinds: the teacher's pyramid has other strides, other widths and another number of levels
    'faster_rcnn/faster-rcnn_r50_fpn_2x_coco': 'retinanet/retinanet_r18_fpn_1x_coco',
    'retinanet/retinanet_r50_fpn_2x_coco': 'yolox/yolox_tiny_8xb8-300e_coco',
}


def prepared(student: str, teacher: str | None = None, student_divisor: int = 32, **teacher_preprocessor):
    """A distiller with its stages, and batches."""
    as_in_a_run()
    model = plain_model(student)
    model['data_preprocessor'].update(pad_size_divisor=student_divisor)
    config = dict(model=plain_model(teacher or student), default_scope='mmdet')
    config['model']['data_preprocessor'].update(teacher_preprocessor)
    distiller = MODELS.build(dict(type='mmkd.SSKD', student=model, teacher=dict(config=config, checkpoint=None)))
    distiller.init_weights()
    batches = batches_for(distiller, with_mask='mask' in student)
    distiller.prepare(batches[0]['inputs'])
    distiller.build_extras([(name,) for name in distiller.default_phases()])
    return distiller, batches


def trained_with(distiller, stage) -> set[str]:
    """Names trained in a stage: the parameters that the config does not freeze, and the adapter."""
    own = {f'student.{name}' for name in stage.parameters if name in distiller.networks.trainable}
    adapter = f'extras.{module_key(stage.name)}.'
    return own | {name for name, _ in distiller.named_parameters() if name.startswith(adapter)}


@pytest.mark.parametrize(('student', 'teacher'), PAIRS.items(), ids=lambda name: name and name.split('/')[1])
def test_every_stage_learns_alone(student, teacher):
    distiller, batches = prepared(student, teacher)
    network = distiller.teacher.network
    free = {name for name, parameter in distiller.student.named_parameters() if parameter.requires_grad}
    assert distiller.networks.trainable == free
    *stages, head = distiller.plan
    assert stages[-1].end == 'neck'
    assert distiller.default_phases() == [stage.name for stage in distiller.plan if free & set(stage.parameters)]
    untouched = snapshot(network)
    ran, teacher_ran = log_calls(distiller.student), log_calls(network)

    def ran_to_the_end_and_no_further(stage, _) -> None:
        for log, its in ((ran, stage), (teacher_ran, distiller.networks.teacher_stages[stage.name])):
            assert log[-1] == its.end
            assert log.count(its.end) == its.call
            log.clear()

    def only_the_student_ran(_) -> None:
        assert [ran.count(stage.end) for stage in stages] == [stage.call for stage in stages]
        assert set(ran) & set(head.modules)
        assert teacher_ran == []
        ran.clear()

    for stage in stages:
        if free & set(stage.parameters):
            check = partial(ran_to_the_end_and_no_further, stage)
            learn(distiller, [stage.name], trained_with(distiller, stage), batches, check)
    learn(distiller, [head.name], trained_with(distiller, head), batches, only_the_student_ran)
    assert changed(untouched, network) == set()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None] == []


def test_an_equal_dense_head_becomes_the_teachers_and_others_say_why_not():
    distiller, (data, *_) = prepared('retinanet/retinanet_r18_fpn_1x_coco', 'retinanet/retinanet_r50_fpn_1x_coco')
    distiller.enter(['neck'])
    assert distiller.inherit_head(data['inputs']) == "The student's head is now the teacher's."
    for name, value in distiller.teacher.network.bbox_head.state_dict().items():
        assert torch.equal(distiller.student.bbox_head.state_dict()[name], value), name
    distiller, (data, *_) = prepared('faster_rcnn/faster-rcnn_r50_fpn_1x_coco')
    distiller.enter(['neck'])
    own = snapshot(distiller.student)
    with pytest.raises(CannotInherit, match='scores cannot be computed from the images alone'):
        distiller.inherit_head(data['inputs'])
    assert changed(own, distiller.student) == set()
    assert distiller.training


# the stand-in for mmcv's ops provides their operators: RoIAlign, deformable convolutions and attention
OPERATORS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco',
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
]


@pytest.mark.parametrize('name', OPERATORS, ids=lambda name: name.split('/')[1])
def test_mixed_precision_in_every_stage(name):
    distiller, batches = prepared(name)
    # mkldnn's bfloat16 convolution of a map of 3x2, the coarsest of DETR here, puts out NaN now and then
    with torch.backends.mkldnn.flags(enabled='detr' not in name):
        for stage in distiller.plan:
            learn(distiller, [stage.name], trained_with(distiller, stage), batches[:2], amp=True)


def test_the_teacher_sees_its_own_padding_in_training_and_validation():
    distiller, (data, *_) = prepared('retinanet/retinanet_r18_fpn_1x_coco', pad_value=7)
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


def odd_batches(distiller) -> list[dict]:
    """Images whose sides are multiples of 8 only."""
    return batches_for(distiller, sizes=[[(72, 64), (40, 104)], [(64, 64), (64, 64)]])


@pytest.mark.parametrize('teacher', ['retinanet/retinanet_r50_fpn_1x_coco', 'yolox/yolox_tiny_8xb8-300e_coco'])
def test_the_teacher_s_images_are_padded_to_its_own_multiples(teacher):
    """YOLOX runs on no other images."""
    distiller, _ = prepared('retinanet/retinanet_r18_fpn_1x_coco', teacher, student_divisor=8, pad_size_divisor=32)
    seen, targets = [], []
    first = next(m for m in distiller.teacher.network.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    for module in [module for name, module in distiller.extras.items() if name.endswith('_loss')]:
        module.register_forward_pre_hook(lambda _, pair: targets.append([tuple(t.shape[2:]) for t in pair[1]]))
    batches = odd_batches(distiller)
    assert [tuple(data['inputs'].shape[2:]) for data in batches] == [(72, 104), (64, 64)]
    for stage in distiller.plan.stages:
        learn(distiller, [stage.name], trained_with(distiller, stage), batches)
        theirs = distiller.networks.teacher_stages[stage.name]
        expected = [math.ceil(72 / theirs.stride), math.ceil(104 / theirs.stride)]
        assert list(targets[0][0]) == expected
        targets.clear()
    side = 2 if 'yolox' in teacher else 1  # it halves images before its first convolution
    assert {(side * images.shape[2], side * images.shape[3]) for images in seen} == {(96, 128), (64, 64)}


def test_tokens_that_cannot_be_cut_are_refused():
    with pytest.raises(
        UserError, match=r"pads images to multiples of 32, and what it puts out at .* student's to a mu"
    ):
        prepared('retinanet/retinanet_r18_fpn_1x_coco', 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco', student_divisor=8)
