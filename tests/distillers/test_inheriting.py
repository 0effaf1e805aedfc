"""What a student inherits from its teacher: logged, exact, or refused with the reason."""

import pytest
import torch
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.features.least_squares import LeastSquares
from mmkd.heads.inherited import CannotInherit
from mmkd.objectives.objective import Step
from tests.mmdet_detectors import as_in_a_run, plain_model

pytest.importorskip('mmdet')


def detector(neck: int, levels: int = 1, norm: dict | None = None, depth: int = 18):
    """A RetinaNet with a neck of this width and a head of two 3x3 convolutions with a fixed width."""
    model = plain_model('retinanet/retinanet_r18_fpn_1x_coco')
    model['backbone'].update(depth=depth)
    start = dict(start_level=1, num_outs=levels, add_extra_convs=False)
    model['neck'].update(out_channels=neck, end_level=levels, **start)
    strides = [8, 16, 32][:levels]
    model['bbox_head'].update(in_channels=neck, feat_channels=24, stacked_convs=1, num_classes=5, norm_cfg=norm)
    model['bbox_head']['anchor_generator']['strides'] = strides
    model['bbox_head']['loss_cls']['type'] = 'FocalLoss'
    return model


def learned(student: dict, teacher: dict, side: int = 128, method: str = 'SSKD', **options):
    """A distiller with maps fitted to a batch and a newly initialised head, and the batch."""
    as_in_a_run()
    teacher = dict(config=dict(model=teacher, default_scope='mmdet'), checkpoint=None)
    distiller = MODELS.build(dict(type=f'mmkd.{method}', student=student, teacher=teacher, **options))
    distiller.init_weights()
    for network in (distiller.student, distiller.teacher.network):
        for name, value in network.bbox_head.state_dict().items():  # biases of 0 would make all scores equal
            if value.is_floating_point():
                value.uniform_(0.5, 2) if name.endswith('running_var') else value.normal_(std=0.1)
    inputs = torch.randn(2, 3, side, side + 32)
    distiller.prepare(inputs)
    distiller.build_extras([('neck',)])
    distiller.enter(['neck'])
    distiller.train()
    with torch.no_grad():
        distiller.mimicking.compare(Step(distiller.current, inputs, None))
    return distiller, inputs


@torch.no_grad()
def scores_of_both(distiller, inputs):
    """The student's scores, and those of the teacher's head on the adapted feature."""
    distiller.eval()
    feature, target = distiller.student.extract_feat(inputs), distiller.teacher.network.extract_feat(inputs)
    adapted = distiller.extras['neck'](feature, target)
    own, theirs = distiller.student.bbox_head(feature), distiller.teacher.network.bbox_head(adapted)
    return [pair for level in zip(own, theirs) for pair in zip(*level)]


def equal_inside(score, wanted, border: int = 2) -> bool:
    scale, inside = wanted.abs().max(), (..., *[slice(border, -border)] * 2)
    assert not torch.allclose(score / scale, wanted / scale, rtol=0, atol=1e-3)  # positions at the border differ
    return torch.allclose(score[inside] / scale, wanted[inside] / scale, rtol=0, atol=1e-5)


def test_convolutions_of_another_width_are_equal_but_for_the_border_and_it_is_said():
    distiller, inputs = learned(detector(neck=12), detector(neck=20))
    assert distiller.inherit_head(inputs) == (
        "The student's head is now the teacher's, times the maps between their features, in the inner 60% of the maps; "
        "within 2 of their border the scores differ, since the maps between the features do not turn the student's "
        'padded zeros into zeros.'
    )
    scores = scores_of_both(distiller, inputs)
    assert [score.shape[2:] for score, _ in scores] == [(16, 20)] * 2
    assert all(equal_inside(*pair) for pair in scores)


def test_batch_norms_of_the_head_take_up_the_constants_of_the_map():
    norm = dict(type='BN')
    distiller, inputs = learned(detector(neck=12, levels=2, norm=norm), detector(neck=20, levels=2, norm=norm))
    assert distiller.student.bbox_head.cls_convs[0].conv.bias is None
    assert 'times the maps between their features, in the inner' in distiller.inherit_head(inputs)
    assert all(equal_inside(*pair) for pair in scores_of_both(distiller, inputs))


def test_group_norms_of_the_head_cannot_and_that_is_said():
    norm = dict(type='GN', num_groups=4)
    distiller, inputs = learned(detector(neck=12, norm=norm), detector(neck=20, norm=norm))
    with pytest.raises(CannotInherit, match=r'cls_convs\.0\.conv\.weight .* neither a bias nor a batch norm behind'):
        distiller.inherit_head(inputs)


def test_levels_that_a_head_reads_alike_share_one_map():
    distiller, inputs = learned(detector(neck=12, levels=3), detector(neck=20, levels=3))
    assert 'in the inner 51% of the maps; within 2 of' in distiller.inherit_head(inputs)
    scores = scores_of_both(distiller, inputs)
    assert [score.shape[2:] for score, _ in scores] == [(16, 20), (8, 10), (4, 5)] * 2
    assert all(equal_inside(*pair) for pair in scores if len(pair[0][0, 0]) > 4)  # the coarsest level is all border


def test_a_head_of_other_widths_leaves_each_level_its_own_map():
    student, teacher = detector(neck=12, levels=3), detector(neck=20, levels=3)
    teacher['bbox_head'].update(feat_channels=28)
    distiller, inputs = learned(student, teacher)
    assert len({adapter.project for adapter in distiller.extras['neck']}) == 3
    with pytest.raises(CannotInherit, match=r'cls_convs\.0.* is \(24, 12, 3, 3\) in the student and \(28, 20, 3, 3\)'):
        distiller.inherit_head(inputs)


def test_equal_widths_are_copied_and_no_map_is_spoken_of():
    student, teacher = detector(neck=12, levels=2), detector(neck=12, levels=2)
    student['backbone'].update(base_channels=8)
    student['neck'].update(in_channels=[8, 16, 32, 64])
    distiller, inputs = learned(student, teacher)
    assert distiller.inherit_head(inputs) == "The student's head is now the teacher's."


def test_a_map_of_an_earlier_stage_between_equal_widths_is_not_multiplied_into_the_head():
    distiller, inputs = learned(detector(neck=12), detector(neck=20))
    earlier = LeastSquares(24, 24)  # as wide as what the last convolutions of the head read
    earlier.weight.normal_()
    distiller.extras['earlier'] = earlier
    assert "now the teacher's, times the maps" in distiller.inherit_head(inputs)
    assert all(equal_inside(*pair) for pair in scores_of_both(distiller, inputs))


def test_maps_that_are_all_border_are_refused():
    distiller, inputs = learned(detector(neck=12), detector(neck=20), side=32)
    own = {name: value.clone() for name, value in distiller.student.state_dict().items()}
    with pytest.raises(CannotInherit, match='this reaches all scores: the training images are too small'):
        distiller.inherit_head(inputs)
    assert all(torch.equal(value, own[name]) for name, value in distiller.student.state_dict().items())


def test_a_norm_over_the_whole_map_spreads_its_border(monkeypatch):
    """The convolution has a bias, which mmdet omits before a norm."""
    from mmdet.models.dense_heads import retina_head

    convolution = retina_head.ConvModule
    monkeypatch.setattr(retina_head, 'ConvModule', lambda *args, **kwargs: convolution(*args, **kwargs, bias=True))
    norm = dict(type='GN', num_groups=4)
    distiller, inputs = learned(detector(neck=12, norm=norm), detector(neck=20, norm=norm))
    with pytest.raises(CannotInherit, match=r'this reaches all scores: .* or a norm or pooling spreads it'):
        distiller.inherit_head(inputs)


def test_a_difference_that_is_no_borders_is_refused(monkeypatch):
    distiller, inputs = learned(detector(neck=12), detector(neck=20))
    scores = distiller.student.bbox_head.forward
    monkeypatch.setattr(distiller.student.bbox_head, 'forward', lambda x: [[s * 2 for s in part] for part in scores(x)])
    with pytest.raises(CannotInherit, match='this reaches all scores'):
        distiller.inherit_head(inputs)


def test_a_neck_of_equal_shapes_begins_as_the_teachers():
    student, teacher = detector(neck=12, levels=2, depth=18), detector(neck=12, levels=2, depth=34)
    distiller, _ = learned(student, teacher)
    before = {name: value.clone() for name, value in distiller.student.state_dict().items()}
    assert distiller.inherit_neck() == "The student's neck begins as the teacher's."
    for name, value in distiller.student.state_dict().items():
        theirs = distiller.teacher.network.state_dict().get(name) if name.startswith('neck.') else before[name]
        assert torch.equal(value, theirs), name
        assert not name.startswith('neck.') or name.endswith('bias') or not torch.equal(value, before[name])


def freeze(distiller):
    distiller.networks.trainable.remove('neck.fpn_convs.0.conv.weight')


def load(distiller):
    distiller.student.neck.init_cfg = dict(type='Pretrained', checkpoint='neck.pth')


def load_whole(distiller):
    distiller.student.init_cfg = [dict(type='Pretrained', checkpoint='detector.pth')]


def switch_off(distiller):
    distiller.inheritance.wanted = False


@pytest.mark.parametrize('change', [freeze, load, load_whole, switch_off])
def test_a_neck_that_the_config_freezes_or_loads_is_left_alone(change):
    distiller, _ = learned(detector(neck=12), detector(neck=12, depth=34))
    before = {name: value.clone() for name, value in distiller.student.state_dict().items()}
    change(distiller)
    assert distiller.inherit_neck() == ''
    assert all(torch.equal(value, before[name]) for name, value in distiller.student.state_dict().items())


def another_kind(neck):
    neck.update(type='PAFPN')


def wider(neck):
    neck.update(out_channels=20)


def without_the_coarsest(neck):
    neck.update(num_outs=1, end_level=1)


@pytest.mark.parametrize('change', [another_kind, wider, without_the_coarsest])
def test_a_neck_unlike_the_teachers_begins_as_it_is(change):
    student, teacher = detector(neck=12, levels=2), detector(neck=12, levels=2)
    change(teacher['neck'])
    teacher['bbox_head'].update(in_channels=teacher['neck']['out_channels'])
    teacher['bbox_head']['anchor_generator']['strides'] = [8, 16][: teacher['neck']['num_outs']]
    distiller, _ = learned(student, teacher)
    before = {name: value.clone() for name, value in distiller.student.state_dict().items()}
    assert distiller.inherit_neck() == ''
    assert all(torch.equal(value, before[name]) for name, value in distiller.student.state_dict().items())


def test_from_the_start_each_layer_that_is_alike_begins_as_the_teachers():
    student, teacher = detector(neck=12, levels=2), detector(neck=12, levels=2, depth=34)
    teacher['bbox_head']['feat_channels'] = 20
    distiller, _ = learned(student, teacher, method='FeatureKD', head_from_teacher='start')
    before = {name: value.clone() for name, value in distiller.student.state_dict().items()}
    theirs = distiller.teacher.network.state_dict()
    said = distiller.inherit_layers()
    taken = {name for name, value in distiller.student.state_dict().items() if not torch.equal(value, before[name])}
    after = distiller.student.state_dict()
    assert taken == {name for name in taken if name.startswith('neck.') and torch.equal(after[name], theirs[name])}
    assert len([name for name in taken if name.endswith('weight')]) == 4
    assert said.startswith("4 of 8 layers of the student's neck and head begin as the teacher's; of other shapes, and")
    assert 'bbox_head.retina_cls' in said


def test_other_words_for_it_are_refused():
    networks = detector(neck=12), detector(neck=12)
    with pytest.raises(UserError, match=r"^model.head_from_teacher: it must be True or False or 'start', not 'begin'"):
        learned(*networks, method='FeatureKD', head_from_teacher='begin')
    with pytest.raises(UserError, match=r"^model.head_from_teacher: it must be True or False, not 'start'"):
        learned(*networks, head_from_teacher='start')
