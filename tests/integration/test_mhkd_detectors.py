"""MHKD and KD of the detectors that mmkd supports: all loss terms exist, and the right parameters get gradients."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.heads import class_scores
from tests.mmdet_detectors import as_in_a_run, batches_for, changed, learn, log_calls, plain_model, snapshot

pytest.importorskip('mmdet')

TINY_HEAD = dict(type='mmdet.FCOSHead', feat_channels=32, stacked_convs=1)
PAIRS = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': None,
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': None,
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco': None,
    'retinanet/retinanet_r18_fpn_1x_coco': 'retinanet/retinanet_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': None,
    'atss/atss_r50_fpn_1x_coco': 'gfl/gfl_r50_fpn_1x_coco',  # with the same anchors
    'gfl/gfl_r50_fpn_1x_coco': None,
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': 'rtmdet/rtmdet_s_8xb32-300e_coco',
    'yolox/yolox_tiny_8xb8-300e_coco': 'yolox/yolox_s_8xb8-300e_coco',
    'tood/tood_r50_fpn_1x_coco': None,
}


def distiller_of(student: str, teacher: str | None = None, student_divisor: int = 32, means=None, stds=None, **options):
    """A distiller whose teacher has random weights."""
    as_in_a_run()
    config = dict(model=plain_model(teacher or student), default_scope='mmdet')
    if means is not None:
        config['model']['data_preprocessor'].update(mean=means, std=stds)
    model = plain_model(student)
    model['data_preprocessor'].update(pad_size_divisor=student_divisor)
    if options.get('type') != 'mmkd.KD':
        options = dict(type='mmkd.MHKD', heads=copy.deepcopy(TINY_HEAD)) | options
    teacher_cfg = dict(config=config, checkpoint=None)
    distiller = MODELS.build(dict(student=model, teacher=teacher_cfg, **options))
    distiller.init_weights()
    return distiller


def batch_for(distiller, boxes: int | None = None) -> dict:
    return batches_for(distiller, boxes=boxes)[0]


def equip(distiller, data) -> tuple[str, ...]:
    """Compute the losses of a phase in which these stages learn; by default everything does."""
    distiller.prepare(data['inputs'])
    names = tuple(stage.name for stage in distiller.plan)
    distiller.build_extras([names])
    return names


def begin(distiller, data) -> None:
    """Begin a phase in which everything learns."""
    distiller.enter(equip(distiller, data))
    distiller.train()


def missed(module) -> list[str]:
    return [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]


def learn_everything(distiller, batches) -> set[str]:
    """Train one iteration per batch; return the names of the losses of each."""
    names = equip(distiller, batches[0])
    student, network, extras = distiller.student, distiller.teacher.network, distiller.extras
    free = {f'student.{name}' for name, parameter in student.named_parameters() if parameter.requires_grad}
    stages, points = distiller.plan.stages, distiller.heads.points
    teacher_stages = [point.teacher for point in points]
    heads = [f'{whose}.{point.name}' for whose in ('student_heads', 'teacher_heads') for point in points]
    untouched = snapshot(network)
    ran, teacher_ran, heads_ran = (log_calls(module) for module in (student, network, extras))
    terms = []

    def one_forward_each(losses) -> None:
        terms.append(set(losses))
        assert [name for name, loss in losses.items() if name.startswith('loss_soft') and not loss > 0] == []
        assert [ran.count(stage.end) for stage in stages] == [stage.call for stage in stages]
        assert [teacher_ran.count(stage.end) for stage in teacher_stages] == [stage.call for stage in teacher_stages]
        assert {path.split('.')[0] for path in teacher_ran} <= {'backbone', 'neck', 'bbox_head', 'roi_head'}
        assert [path for path in teacher_ran if 'mask' in path] == []
        assert sorted(path for path in heads_ran if path.count('.') == 1) == sorted(heads)
        for log in (ran, teacher_ran, heads_ran):
            log.clear()

    trained = free | {f'extras.{name}' for name, _ in extras.named_parameters()}
    learn(distiller, names, trained, batches, one_forward_each)
    assert changed(untouched, network) == set()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None] == []
    assert len(terms) == len(batches)
    return set.intersection(*terms)


@pytest.mark.parametrize(('student', 'teacher'), PAIRS.items(), ids=lambda name: name and name.split('/')[1])
def test_all_learn_at_once(student, teacher):
    distiller = distiller_of(student, teacher)
    terms = learn_everything(distiller, batches_for(distiller, 'mask' in student))
    places = [point.name for point in distiller.heads.points]
    assert len(places) == 3
    assert {f'loss_{what}_{place}' for what in ('soft', 'own', 'teacher') for place in places} | {'loss_soft'} <= terms


@pytest.mark.parametrize('name', ['retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'])
def test_a_teacher_that_pads_to_larger_multiples(name):
    distiller = distiller_of(name, student_divisor=8)
    batches = batches_for(distiller, sizes=[[(72, 64), (40, 104)], [(64, 64), (64, 64)]])
    sides = []
    conv = distiller.teacher.network.backbone.conv1
    conv.register_forward_pre_hook(lambda _, inputs: sides.append(tuple(inputs[0].shape[2:])))
    assert 'loss_soft' in learn_everything(distiller, batches)
    assert sides[-2:] == [(96, 128), (64, 64)]


def test_tokens_that_cannot_be_cut_are_refused_where_heads_sit():
    students, teachers = 'retinanet/retinanet_r18_fpn_1x_coco', 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco'
    options = dict(alpha=0, pairs=[('neck', 'neck')], attach=[('backbone.layer2', 'backbone.stages.0')])
    distiller = distiller_of(students, teachers, student_divisor=8, **options)
    with pytest.raises(UserError, match=r'what it puts out at backbone\.stages\.0, of the shape .* cannot be cut back'):
        equip(distiller, batch_for(distiller))


def test_heads_that_score_other_places_on_the_images_at_hand_only():
    """The stem rounds down, and the teacher pads its batch: at multiples of both sizes the features agree."""
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco', type='mmkd.KD', student_divisor=1)
    distiller.student.backbone.conv1.padding = (0, 0)
    data = batches_for(distiller, sizes=[[(70, 70), (70, 70)]])[0]
    with pytest.raises(UserError, match=r'model\.teacher: its head scores .* and where they are not the very same'):
        equip(distiller, data)


def test_soft_targets_of_a_dense_head_are_those_of_both_heads_outputs():
    """The recorded forward gives the same number as running both networks by hand."""
    name = 'gfl/gfl_r50_fpn_1x_coco'
    distiller = distiller_of(name, type='mmkd.KD')
    data = batch_for(distiller)
    begin(distiller, data)
    distiller.eval()
    with torch.no_grad():
        loss = distiller(**data, mode='loss')['loss_soft']
        rows = []
        for network in (distiller.student, distiller.teacher.network):
            maps, _ = network.bbox_head(network.extract_feat(data['inputs']))
            rows.append(torch.cat([level.flatten(2).transpose(1, 2).reshape(-1, 80) for level in maps]).sigmoid())
    own, theirs = rows
    divergence = theirs * (theirs / own).log() + (1 - theirs) * ((1 - theirs) / (1 - own)).log()
    assert loss.item() == pytest.approx((divergence.sum() / theirs.amax(1).sum().clamp(min=1)).item(), rel=1e-3)


@pytest.mark.parametrize(
    'name', ['faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco']
)
def test_the_teacher_scores_the_proposals_that_the_student_sampled(name):
    distiller = distiller_of(name, type='mmkd.KD')
    data = batch_for(distiller)
    begin(distiller, data)
    seen = {}
    for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        extractors = network.roi_head.bbox_roi_extractor
        for i, extractor in enumerate(extractors if isinstance(extractors, torch.nn.ModuleList) else [extractors]):
            extractor.register_forward_pre_hook(lambda _, args, key=(whose, i): seen.update({key: args[1]}))
    losses = distiller(**data, mode='loss')
    assert losses['loss_soft'] > 0
    stages = {i for _, i in seen}
    assert len(stages) == (3 if 'cascade' in name else 1)
    for i in stages:
        assert torch.equal(seen['student', i], seen['teacher', i])
        assert len(seen['student', i])


def test_a_teacher_with_the_students_weights_teaches_nothing():
    for name in ('retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'):
        distiller = distiller_of(name, type='mmkd.KD')
        data = batch_for(distiller)
        begin(distiller, data)
        distiller.eval()
        distiller.teacher.network.load_state_dict(distiller.student.state_dict())
        assert distiller(**data, mode='loss')['loss_soft'].item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('name', ['retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'])
def test_only_what_a_loss_reads_runs_in_the_teacher(name):
    """Proposals, boxes and masks are not made; nothing after the last head runs unless its scores are read."""
    for alpha, part in ((1.0, 'roi_head.bbox_head' if 'faster' in name else 'bbox_head'), (0, '')):
        distiller = distiller_of(name, alpha=alpha)
        data = batch_for(distiller)
        begin(distiller, data)
        ran = set()
        for path, module in distiller.teacher.network.named_modules():
            if not list(module.children()):
                module.register_forward_hook(lambda *_, path=path, ran=ran: ran.add(path))
        distiller(**data, mode='loss')
        parts = {path.split('.')[0] for path in ran}
        assert parts <= {'backbone', 'neck', 'roi_head', 'bbox_head'}
        assert any(path.startswith(part) for path in ran) if part else parts == {'backbone'}


@pytest.mark.parametrize('name', ['retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'])
def test_images_without_boxes_train_on(name):
    distiller = distiller_of(name)
    data = batch_for(distiller, boxes=0)
    begin(distiller, data)
    total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    total.backward()
    assert total.isfinite()
    assert missed(distiller.extras) == []


def test_the_teachers_heads_learn_first_and_alone():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco')
    data = batch_for(distiller)
    distiller.prepare(data['inputs'])
    distiller.build_extras([('teacher_heads',), tuple(stage.name for stage in distiller.plan)])
    distiller.enter(('teacher_heads',))
    distiller.train()
    distiller.student.register_forward_pre_hook(lambda *_: pytest.fail('the student ran'))
    losses = distiller(**data, mode='loss')
    assert set(losses) == {f'loss_teacher_{point.name}' for point in distiller.heads.points}
    sum(losses.values()).backward()
    assert missed(distiller.extras['teacher_heads']) == []


def test_heads_on_the_pyramid_and_on_one_of_its_levels():
    places = ['neck', ('neck.fpn_convs.1', 'neck.fpn_convs.1')]
    distiller = distiller_of('gfl/gfl_r50_fpn_1x_coco', attach=places)
    data = batch_for(distiller)
    begin(distiller, data)
    pyramid, level = (head.head for head in distiller.extras['student_heads'].children())
    assert pyramid.strides == [8, 16, 32, 64, 128]
    assert level.strides == [16]
    total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    assert total.isfinite()


def test_a_detr_has_no_places_but_its_backbone_has():
    name = 'deformable_detr/deformable-detr_r50_16xb2-50e_coco'
    distiller = distiller_of(name)
    with pytest.raises(UserError, match=r'model\.student: its DeformableDETRHead scores no classes at.*model\.alpha=0'):
        distiller.prepare(batch_for(distiller)['inputs'])
    distiller = distiller_of(name, alpha=0)
    assert 'loss_soft_layer3' in learn_everything(distiller, batches_for(distiller))


def test_without_soft_targets_of_the_own_heads_kinds_can_be_mixed():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco', alpha=0)
    data = batch_for(distiller)
    begin(distiller, data)
    losses = distiller(**data, mode='loss')
    assert 'loss_soft' not in losses
    assert losses['loss_soft_layer2'] > 0


@pytest.mark.parametrize('method', ['KD', 'MHKD'])
@pytest.mark.parametrize(
    ('name', 'first'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco', 'teacher'),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'student'),  # samples the proposals that the teacher scores
    ],
)
def test_the_teacher_runs_while_the_student_keeps_nothing_yet(method, name, first):
    distiller = distiller_of(name, type=f'mmkd.{method}')
    data = batch_for(distiller)
    begin(distiller, data)
    ran = []
    for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        network.backbone.conv1.register_forward_pre_hook(lambda *_, whose=whose: ran.append(whose))
    distiller(**data, mode='loss')
    assert ran == [first, 'student' if first == 'teacher' else 'teacher']


def test_a_weight_of_the_students_own_losses():
    for name in ('retinanet/retinanet_r18_fpn_1x_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'):
        distiller = distiller_of(name, type='mmkd.KD', gamma=0.25)
        data = batch_for(distiller)
        begin(distiller, data)
        distiller.eval()
        torch.manual_seed(0)  # of the sampled proposals
        losses = {key: value for key, value in distiller(**data, mode='loss').items() if key != 'loss_soft'}
        torch.manual_seed(0)
        own = distiller.student(**data, mode='loss')
        assert losses.keys() == own.keys()
        for key, value in own.items():
            factor = 0.25 if 'loss' in key else 1
            for ours, plain in zip(*(part if isinstance(part, list) else [part] for part in (losses[key], value))):
                assert ours.item() == pytest.approx(factor * plain.item()), key


def test_an_odd_first_batch_and_a_teacher_that_pads():
    """Compute by hand: pad for the teacher, cut its maps to the size of the student's, run its own head."""
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco', type='mmkd.KD', student_divisor=1)
    data = batches_for(distiller, sizes=[[(70, 90), (61, 90)]])[0]
    assert data['inputs'].shape[-2:] == (70, 90)
    begin(distiller, data)
    distiller.speed_up(data['inputs'])
    distiller.eval()
    network = distiller.teacher.network
    with torch.no_grad():
        loss = distiller(**data, mode='loss')['loss_soft']
        padded = torch.nn.functional.pad(distiller.teacher_inputs(data['inputs'], data['data_samples']), (0, 6, 0, 26))
        own = distiller.student.extract_feat(data['inputs'])
        theirs = [
            level[..., : mine.shape[-2], : mine.shape[-1]] for level, mine in zip(network.extract_feat(padded), own)
        ]
        scores = [
            class_scores(net.bbox_head, net.bbox_head(maps))
            for net, maps in ((distiller.student, own), (network, theirs))
        ]
    assert loss.item() == pytest.approx(distiller.soft_targets.loss(*scores).item(), rel=1e-3)


def test_the_teacher_of_a_detector_gets_images_as_its_own_config_wants_them():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco', means=[10.0, 90.0, 40.0], stds=[20.0, 70.0, 50.0])
    data = batches_for(distiller, sizes=[[(64, 64), (64, 64)]])[0]
    begin(distiller, data)
    distiller.eval()
    seen = []
    distiller.teacher.network.backbone.conv1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    distiller(**data, mode='loss')
    student = distiller.data_preprocessor
    raw = data['inputs'] * student.std + student.mean
    expected = (raw - torch.tensor([10.0, 90.0, 40.0])[:, None, None]) / torch.tensor([20.0, 70.0, 50.0])[:, None, None]
    torch.testing.assert_close(seen[-1], expected, rtol=1e-4, atol=1e-3)
