import pytest
import torch
from mmpretrain.registry import MODELS

from mmkd.errors import UserError
from mmkd.stages.pairing import pair_plans
from mmkd.stages.plan import Stage, StagePlan, plan_stages
from tests.stage_networks import build

GAP = dict(type='GlobalAveragePooling')


def resnet(depth, kind='ResNet', neck=GAP, **backbone):
    backbone = dict(dict(type=kind, depth=depth, stem_channels=8, base_channels=8), **backbone)
    return MODELS.build(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=dict(type='ClsHead')))


def cifar(depth):
    backbone = dict(type='mmkd.CIFARResNet', depth=depth)
    return MODELS.build(dict(type='ImageClassifier', backbone=backbone, neck=GAP, head=dict(type='ClsHead')))


def named(name, **backbone):
    return build(name, **backbone)[0]


def pair(student, teacher, side=64, pairs=None):
    """The ends of the pairs without ``backbone.``; every student stage must have a partner."""
    inputs = torch.randn(2, 3, side, side)
    plan, teacher_plan = pair_plans(student, inputs, teacher, inputs, pairs)
    assert len(plan.stages) == len(teacher_plan.stages)
    held = [name for stage in plan for name in stage.parameters]
    assert sorted(held) == sorted(name for name, _ in student.named_parameters())
    return [(a.name, b.name) for a, b in zip(plan.stages, teacher_plan.stages)]


LAYERS = [(f'layer{i}', f'layer{i}') for i in (1, 2, 3, 4)]


def test_equal_strides_belong_together():
    assert pair(resnet(18), resnet(34)) == LAYERS


def test_other_names():
    assert pair(named('MobileNetV2'), resnet(50)) == [
        ('layer2', 'layer1'),
        ('layer3', 'layer2'),
        ('layer5', 'layer3'),
        ('conv2', 'layer4'),
    ]
    assert [end for end, _ in pair(resnet(18), named('SwinTransformer'))] == [end for end, _ in LAYERS]


def test_strides_that_tell_nothing_leave_the_position():
    vit = named('VisionTransformer')
    ends = pair(vit, resnet(18), side=32)
    assert ends == [('layers.1', 'layer1'), ('layers.3', 'layer2'), ('layers.5', 'layer3'), ('ln1', 'layer4')]
    assert [(b, a) for a, b in ends] == pair(resnet(18), vit, side=32)
    small = resnet(18, 'ResNet_CIFAR')  # ends with the stride of all of the ViT's stages
    assert pair(small, vit, side=32) == [(b, a) for a, b in ends]


def test_another_stem_is_no_reason_to_pair_the_end_with_the_middle():
    small, large = resnet(18, 'ResNet_CIFAR'), resnet(34)  # strides 1, 2, 4, 8 and 4, 8, 16, 32
    assert pair(small, large) == LAYERS
    assert pair(large, small) == LAYERS


def test_cifar_nets():
    assert pair(cifar(20), cifar(56), side=32) == LAYERS[:3]


def test_what_the_teacher_has_more_is_left_out():
    assert pair(cifar(20), resnet(34, 'ResNet_CIFAR'), side=32) == LAYERS[:3]


def test_a_stride_that_the_teacher_lacks_is_learned_with_the_next():
    inputs = torch.randn(2, 3, 64, 64)
    student, teacher = resnet(18), resnet(18, strides=(1, 4, 1, 2))  # 4, 8, 16, 32 and 4, 16, 16, 32
    plan, teacher_plan = pair_plans(student, inputs, teacher, inputs)
    assert [stage.stride for stage in plan.stages] == [stage.stride for stage in teacher_plan.stages] == [4, 16, 32]
    assert [stage.name for stage in plan.stages] == ['layer1', 'layer3', 'layer4']
    assert [stage.name for stage in teacher_plan.stages] == ['layer1', 'layer3', 'layer4']
    assert any('layer2' in name for name in plan.stages[1].parameters)


def test_strides_count_more_than_the_number_of_stages():
    three = dict(num_stages=3, out_indices=(2,), dilations=(1, 1, 1))
    student = resnet(18, strides=(1, 2, 4), **three)  # 4, 8, 32
    teacher = resnet(34, strides=(1, 4, 2), **three)  # 4, 16, 32
    assert pair(student, teacher) == [('layer1', 'layer1'), ('layer3', 'layer3')]


def test_no_partner_for_the_last_is_refused():
    with pytest.raises(UserError) as caught:
        pair(resnet(18, 'ResNet_CIFAR'), cifar(20), side=32)
    assert str(caught.value) == (
        'model.pairs: the stages of the two networks do not match, neither by stride nor in number: student '
        'backbone.layer1 (stride 1), backbone.layer2 (stride 2), backbone.layer3 (stride 4), backbone.layer4 '
        '(stride 8); teacher backbone.layer1 (stride 1), backbone.layer2 (stride 2), backbone.layer3 (stride 4). '
        'Name them: pairs=[(of the student, of the teacher), ...].'
    )


def test_pairs_of_the_user():
    pairs = [('layer2', 'backbone.layer3'), ('backbone.layer4.0', 'layer4')]
    assert pair(resnet(18), resnet(34), pairs=pairs) == [('layer2', 'layer3'), ('layer4.0', 'layer4')]
    assert pair(resnet(18), resnet(34), pairs=[['layer3', 'layer1.0']]) == [('layer3', 'layer1.0')]


@pytest.mark.parametrize(
    ('pairs', 'sentence'),
    [
        ([], 'model.pairs: [] must be pairs of module paths'),
        (['layer1', 'layer2'], "model.pairs: ['layer1', 'layer2'] must be pairs of module paths"),
        (['ab'], "model.pairs: ['ab'] must be pairs of module paths"),
        ([('layer1', 'layer1', 'layer1')], 'must be pairs of module paths'),
        ([('layr1', 'layer1')], "model.pairs, student: No stage can end at 'layr1'"),
        ([('layer1', 'layr1')], "model.pairs, teacher: No stage can end at 'layr1'"),
        ([('layer1', 'layr1')], 'Did you mean layer1'),
        ([('layer2', 'layer1'), ('layer1', 'layer2')], 'model.pairs, student: The stage ends are out of order'),
        ([('layer1', 'layer1'), ('layer2', 'layer1')], 'model.pairs, teacher: Only one stage can end at'),
        (
            [('layer1.1.bn2', 'layer1'), ('layer1', 'layer2')],
            'model.pairs, student: between two of the ends layer1.1.bn2, layer1 lies no parameter; only',
        ),
        (
            [('layer1', 'conv1'), ('layer2', 'bn1'), ('layer3', 'relu')],
            'model.pairs, teacher: between two of the ends conv1, bn1, relu lies no parameter; only',
        ),
    ],
)
def test_wrong_pairs_are_refused(pairs, sentence):
    with pytest.raises(UserError) as caught:
        pair(resnet(18), resnet(34), pairs=pairs)
    assert sentence in str(caught.value)


def test_a_neck_belongs_to_a_neck():
    ends = pair(named('HRNet'), named('HRNet'))
    assert ends[-1] == ('neck.0', 'neck.0')
    assert len(ends) == 5
    assert all(a == b for a, b in ends)


def test_a_neck_alone_is_learned_with_the_head():
    inputs = torch.randn(2, 3, 64, 64)
    hrnet, plain = named('HRNet'), resnet(18)
    plan, teacher_plan = pair_plans(hrnet, inputs, plain, inputs)
    assert [stage.name for stage in plan.stages] == ['layer1', 'stage2', 'stage3', 'stage4']
    assert any(name.startswith('neck.') for name in plan.head.parameters)
    plan, teacher_plan = pair_plans(plain, inputs, hrnet, inputs)
    assert len(plan.stages) == len(teacher_plan.stages) == 4
    assert teacher_plan.stages[-1].name == 'stage4'


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_a_network_without_features_is_refused(monkeypatch, whose):
    student, teacher, inputs = resnet(18), resnet(18), torch.zeros(2, 3, 8, 8)
    plans = {network: plan_stages(network, inputs) for network in (student, teacher)}
    plans[dict(student=student, teacher=teacher)[whose]] = StagePlan(
        (), Stage('head', '', 0, (), None, None, ('fc.weight',), ('fc',))
    )
    monkeypatch.setattr('mmkd.stages.pairing.plan_stages', lambda network, inputs, ends=None: plans[network])
    with pytest.raises(UserError, match=rf'^model\.{whose}: its backbone puts out neither maps nor tokens'):
        pair_plans(student, inputs, teacher, inputs)
