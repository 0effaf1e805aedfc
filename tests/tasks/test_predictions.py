"""LD and CrossKD on detectors: what they compute, and what is refused before the training."""

import copy
import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.tasks.valuable_region import valuable_region
from tests.mmdet_detectors import as_in_a_run, batches_for

pytest.importorskip('mmdet')

ATSS = dict(type='ATSSAssigner', topk=9)
NORM = dict(type='GN', num_groups=2, requires_grad=True)
LD = dict(ld=dict(loss=dict(type='mmkd.LDLoss'), places='boxes'))
CROSS = dict(
    classes=dict(loss=dict(type='mmkd.CrossKDClassLoss'), places='cross_scores'),
    boxes=dict(loss=dict(type='mmkd.LDLoss', tau=1.0, bins='sum', loss_weight=4.0), places='cross_boxes'),
)
GIOU = dict(CROSS, boxes=dict(loss=dict(type='mmkd.CrossKDBoxLoss'), places='cross_boxes'))
ONE_PER_PLACE = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16])


def detector(head='GFLHead', width=8, convs=2, **options):
    """Two levels, 3 classes, as small as it gets."""
    common = dict(num_classes=3, in_channels=width, feat_channels=width, stacked_convs=convs, norm_cfg=NORM)
    sigmoid = dict(use_sigmoid=True, loss_weight=1.0)
    heads = dict(
        GFLHead=dict(
            anchor_generator=ONE_PER_PLACE,
            loss_cls=dict(type='QualityFocalLoss', beta=2.0, **sigmoid),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            reg_max=7,
        ),
        ATSSHead=dict(
            anchor_generator=ONE_PER_PLACE,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='FocalLoss', **sigmoid),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        ),
        RetinaHead=dict(anchor_generator=dict(ONE_PER_PLACE, scales_per_octave=2)),
        FCOSHead=dict(strides=[8, 16], regress_ranges=((-1, 64), (64, 1e8))),
    )
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
    assigner = assigner if head == 'RetinaHead' else ATSS
    sampler = dict(sampler=dict(type='PseudoSampler')) if head == 'RetinaHead' else {}
    return dict(
        type='SingleStageDetector',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, num_stages=3, strides=(1, 2, 2),
                      dilations=(1, 1, 1), out_indices=(1, 2), norm_eval=False),
        neck=dict(type='FPN', in_channels=[8, 16], out_channels=width, num_outs=2),
        bbox_head={**dict(type=head, **common), **heads[head.replace('LDHead', 'GFLHead')], **options},
        train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1, debug=False, **sampler),
    )  # fmt: skip


def two_stages():
    """A Faster R-CNN without anything inside."""
    model = detector('RetinaHead')
    model.pop('bbox_head')
    rpn = dict(type='RPNHead', in_channels=8, feat_channels=8, anchor_generator=dict(ONE_PER_PLACE, scales=[4]))
    rpn['anchor_generator'].pop('octave_base_scale')
    rpn['anchor_generator'].pop('scales_per_octave')
    bbox_head = dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, roi_feat_size=3, num_classes=3)
    extractor = dict(type='SingleRoIExtractor', out_channels=8, featmap_strides=[8, 16])
    extractor['roi_layer'] = dict(type='RoIAlign', output_size=3, sampling_ratio=0)
    sampler = dict(type='RandomSampler', num=16, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True)
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0)
    common = dict(assigner=assigner, sampler=sampler, pos_weight=-1, debug=False, allowed_border=-1)
    rcnn = {key: value for key, value in common.items() if key != 'allowed_border'}
    common['sampler'] = dict(sampler, add_gt_as_proposals=False)
    nms = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    return dict(
        model,
        type='FasterRCNN',
        rpn_head=rpn,
        roi_head=dict(type='StandardRoIHead', bbox_roi_extractor=extractor, bbox_head=bbox_head),
        train_cfg=ConfigDict(rpn=common, rpn_proposal=nms, rcnn=rcnn),
        test_cfg=ConfigDict(rpn=nms, rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=9)),
    )


def feature_kd(student, teacher, terms, **options):
    """A distiller of two detectors with random weights."""
    as_in_a_run()
    config = dict(model=copy.deepcopy(teacher), default_scope='mmdet')
    wanted = dict(student=copy.deepcopy(student), teacher=dict(config=config, checkpoint=None), terms=terms, **options)
    distiller = MODELS.build(dict(type='mmkd.FeatureKD', **wanted))
    distiller.init_weights()
    for parameter in distiller.teacher.network.bbox_head.parameters() if 'bbox_head' in teacher else ():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return distiller


def prepared(student, teacher, terms, **options):
    """Everything learns; and a batch whose images have boxes of the three classes."""
    distiller = feature_kd(student, teacher, terms, **options)
    data = batch_for(distiller)
    distiller.prepare(data['inputs'])
    names = [stage.name for stage in distiller.plan]
    distiller.build_extras([tuple(names)])
    distiller.enter(names)
    distiller.train()
    return distiller, data


def batch_for(distiller):
    data = batches_for(distiller, boxes=3, sizes=[[(64, 64), (64, 96)]])[0]
    for sample in data['data_samples']:
        sample.gt_instances.labels %= 3
    return data


def test_ld_is_that_of_mmdet():
    distiller, data = prepared(detector(), detector(width=12), LD)
    head = dict(detector()['bbox_head'], type='mmdet.LDHead', train_cfg=detector()['train_cfg'])
    public = MODELS.build(dict(head, loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)))
    student, teacher = distiller.student, distiller.teacher.network
    public.load_state_dict(student.bbox_head.state_dict())
    with torch.no_grad():
        soft = teacher.bbox_head(teacher.extract_feat(data['inputs']))
        wanted = sum(public.loss(student.extract_feat(data['inputs']), soft, data['data_samples'])['loss_ld'])
    found = distiller(**data, mode='loss')
    assert found['loss_term_ld'].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert wanted > 1e-3


def test_lds_second_region_is_weighted_level_by_level_and_image_by_image():
    both = dict(LD, near=dict(LD['ld'], places='near_boxes'))
    distiller, data = prepared(detector(), detector(width=12), both)
    seen = seen_by(distiller, 'near')
    losses = distiller(**data, mode='loss')
    own, theirs, weights, divisor = seen
    head = distiller.student.bbox_head
    sizes = [(8, 12), (4, 6)]
    anchors = head.prior_generator.grid_priors(sizes, device='cpu')
    rows_of = torch.split(weights[::4], [2 * len(level) for level in anchors])
    for image, sample in enumerate(data['data_samples']):
        flags = head.prior_generator.valid_flags(sizes, sample.pad_shape[:2], device='cpu')
        true = sample.gt_instances.bboxes
        wanted = valuable_region(anchors, flags, true, 9)
        for level, expected in zip(rows_of, wanted):
            assert torch.equal(level.view(2, -1)[image], expected)
    assert divisor == 16
    assert torch.equal(weights, weights[::4].repeat_interleave(4))
    wanted = 0.0
    for s, t, w in zip((own / 10).log_softmax(1), (theirs / 10).log_softmax(1), weights):
        wanted += 0.25 * 100 * w * (t.exp() * (t - s)).mean() / 16
    assert losses['loss_term_near'].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert wanted > 0


def seen_by(distiller, name):
    """What a term's loss gets, once it is called."""
    seen = []
    distiller.terms[name].loss.register_forward_pre_hook(lambda _, args: seen.extend(args))
    return seen


def moments(feature):
    return feature.mean((0, 2, 3), keepdim=True), feature.std((0, 2, 3), keepdim=True)


def by_hand(distiller, inputs, convs):
    """The teacher's head behind so many of the student's convolutions, one by one: scores and boxes by levels."""
    own, theirs = distiller.student, distiller.teacher.network
    maps = dict(distiller.extras.items()).get('cross_maps', {})
    levels = zip(own.extract_feat(inputs), theirs.extract_feat(inputs), theirs.bbox_head.scales)
    said = [], []
    for *features, scale in levels:
        for kind, (branch, last) in enumerate((('cls_convs', 'gfl_cls'), ('reg_convs', 'gfl_reg'))):
            mine, aim = features
            for i, (one, other) in enumerate(zip(getattr(own.bbox_head, branch), getattr(theirs.bbox_head, branch))):
                if i < convs:
                    mine, aim = (conv(x, activate=i < convs - 1) for conv, x in ((one, mine), (other, aim)))
            if maps:
                mine = maps[f'{branch}_{convs}'](mine)
            (mean, deviation), (new_mean, new_deviation) = moments(mine), moments(aim)
            mine = (mine - mean) / (deviation + 1e-6) * new_deviation + new_mean
            mine = mine.relu() if convs else mine  # as published: moments before the activation
            for conv in getattr(theirs.bbox_head, branch)[convs:]:
                mine = conv(mine)
            mine = getattr(theirs.bbox_head, last)(mine)
            said[kind].append(scale(mine) if kind else mine)
    return said


def rows(levels, channels):
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels])


@pytest.mark.parametrize(('width', 'convs'), [(8, None), (12, None), (8, 0), (12, 1)])
def test_cross_kd_is_what_the_teachers_head_makes_of_the_students_features(width, convs):
    terms = {name: dict(term, own_convs=convs) for name, term in CROSS.items()}
    distiller, data = prepared(detector(convs=3), detector(width=width, convs=3), terms)
    scores, boxes = seen_by(distiller, 'classes'), seen_by(distiller, 'boxes')
    losses = distiller(**data, mode='loss')
    with torch.no_grad():
        wanted = by_hand(distiller, data['inputs'], 2 if convs is None else convs)
        teacher = distiller.teacher.network
        theirs = teacher.bbox_head(teacher.extract_feat(data['inputs']))
    assert torch.allclose(scores[0].logits, rows(wanted[0], 3), atol=1e-4)
    assert torch.equal(scores[1].logits, rows(theirs[0], 3))
    assert torch.allclose(boxes[0], rows(wanted[1], 8), atol=1e-4)
    assert torch.equal(boxes[1], rows(theirs[1], 8))
    valid = scores[2]
    assert valid.unique().tolist() == [0, 1]  # what lies in the padding of the first image does not count
    confidence = valid * scores[1].logits.amax(1).sigmoid()
    assert torch.equal(boxes[2], confidence.repeat_interleave(4))
    assert boxes[3].item() == pytest.approx(4 * confidence.sum().item())
    assert scores[3] >= 1
    sum(losses[f'loss_term_{name}'] for name in CROSS).backward()
    learned = {name for name, parameter in distiller.student.named_parameters() if parameter.grad is not None}
    own = 2 if convs is None else convs
    assert any('neck' in name for name in learned)
    assert any(f'cls_convs.{own - 1}' in name for name in learned) == (own > 0)
    assert not any(f'cls_convs.{own}' in name or 'gfl' in name for name in learned)


CENTERNESS = dict(center=dict(loss=dict(type='mmkd.CrossKDCenternessLoss'), places='cross_centerness'))


@pytest.mark.parametrize('head', ['ATSSHead', 'FCOSHead'])
def test_cross_kd_of_centerness_counts_where_objects_are(head):
    distiller, data = prepared(detector(head), detector(head), {**GIOU, **CENTERNESS})
    given = seen_by(distiller, 'center')
    own = distiller.student.bbox_head.loss_cls
    told = []
    own.register_forward_pre_hook(lambda _, args, kwargs: told.append((args, kwargs)), with_kwargs=True)
    losses = distiller(**data, mode='loss')
    teacher = distiller.teacher.network
    with torch.no_grad():
        theirs = torch.cat(
            [x.permute(0, 2, 3, 1).flatten() for x in teacher.bbox_head(teacher.extract_feat(data['inputs']))[2]]
        )
    assert torch.equal(given[1], theirs)
    labels = torch.cat([args[1] for args, _ in told])
    divisor = float(told[0][1]['avg_factor'])
    total = 0.0
    for mine, score, label in zip(given[0].tolist(), theirs.tolist(), labels.tolist()):
        if label < 3:
            p, q = (1 / (1 + math.exp(-x)) for x in (score, mine))
            total -= p * math.log(q) + (1 - p) * math.log(1 - q)
    assert total > 0
    assert losses['loss_term_center'].item() == pytest.approx(total / divisor, rel=1e-4)
    losses['loss_term_center'].backward()
    assert distiller.student.neck.lateral_convs[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(('head', 'own'), [('GFLHead', False), ('ATSSHead', True), ('RetinaHead', True)])
def test_boxes_are_divided_as_published(head, own):
    """By the sum of the weights where heads have distributions, else by what the class loss is divided by."""
    distiller, data = prepared(detector(head), detector(head), GIOU)
    given, classes = seen_by(distiller, 'boxes'), seen_by(distiller, 'classes')
    distiller(**data, mode='loss')
    assert float(given[3]) == pytest.approx(float(classes[3] if own else given[2].sum()))
    assert float(classes[3]) != pytest.approx(float(given[2].sum()))


@pytest.mark.parametrize('head', ['GFLHead', 'ATSSHead', 'RetinaHead', 'FCOSHead'])
def test_boxes_are_those_that_the_head_would_predict(head):
    """And a teacher that is the student itself teaches almost nothing."""
    distiller, data = prepared(detector(head), detector(head), GIOU)
    boxes = seen_by(distiller, 'boxes')
    distiller.eval()
    distiller.teacher.network.load_state_dict(distiller.student.state_dict())
    losses = distiller(**data, mode='loss')
    teacher = distiller.teacher.network
    with torch.no_grad():
        output = teacher.bbox_head(teacher.extract_feat(data['inputs']))
        images = [dict(img_shape=(64, 96), scale_factor=(1.0, 1.0)) for _ in data['inputs']]
        config = ConfigDict(nms_pre=-1, score_thr=-1.0)
        found = teacher.bbox_head.predict_by_feat(*output, batch_img_metas=images, cfg=config, with_nms=False)
    wanted = {tuple(box.round().int().tolist()) for box in found[0].bboxes}
    ours = boxes[1].clamp(min=0)
    ours[:, 0::2].clamp_(max=96)
    ours[:, 1::2].clamp_(max=64)
    assert wanted <= {tuple(box.round().int().tolist()) for box in ours}
    assert losses['loss_term_boxes'].item() == pytest.approx(0, abs=1e-3)


def test_without_labels_nothing_is_compared_and_images_without_boxes_are_no_harm():
    distiller, data = prepared(detector(), detector(width=12), {**LD, **CROSS})
    assert not distiller.loss_without_labels(**data)
    assert distiller.learns_from_images(distiller.current) is False
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = distiller(**data, mode='loss')
    assert losses['loss_term_ld'] == 0
    assert 0 < losses['loss_term_boxes'] < 100


def test_terms_act_in_their_part_and_need_no_teacher_where_none_acts():
    terms = dict(LD, classes=dict(CROSS['classes'], until=0.5, weight=0.5))
    distiller, data = prepared(detector(), detector(), terms)
    distiller.eval()
    both = distiller(**data, mode='loss')
    distiller.progress = 0.5
    assert set(both) - set(distiller(**data, mode='loss')) == {'loss_term_classes'}
    distiller, data = prepared(detector(), detector(), {name: dict(term, weight=0) for name, term in terms.items()})
    distiller.teacher.network.register_forward_pre_hook(lambda *_: pytest.fail('the teacher ran'))
    assert not any('term' in name for name in distiller(**data, mode='loss'))


@pytest.mark.parametrize('terms', [dict(CROSS, **LD), GIOU], ids=['bins', 'boxes'])
def test_maps_of_other_widths_learn_along_in_low_precision_too(terms):
    head = 'GFLHead' if 'ld' in terms else 'ATSSHead'
    options = dict(frozen_dtype='bfloat16')
    distiller = feature_kd(detector(head), detector(head, width=12), terms, **options)
    data = batch_for(distiller)
    distiller.prepare(data['inputs'])
    names = [stage.name for stage in distiller.plan]
    distiller.build_extras([tuple(names)])
    distiller.speed_up(data['inputs'])
    distiller.enter(names)
    distiller.train()
    before = {name: one.weight.clone() for name, one in distiller.extras['cross_maps'].items()}
    total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    total.backward()
    assert all(not torch.equal(one.weight, before[name]) for name, one in distiller.extras['cross_maps'].items())
    assert len(before) == 2
    assert not any('cross' in name or 'term' in name for name in distiller.state_dict())


@pytest.mark.parametrize('head', ['GFLHead', 'FCOSHead'])
def test_mixed_precision_gives_nearly_the_same(head):
    distiller, data = prepared(detector(head), detector(head, width=12), CROSS if head == 'GFLHead' else GIOU)
    distiller.eval()
    distiller.extras.train()  # maps are fitted to each batch
    exact = distiller(**data, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        mixed = distiller(**data, mode='loss')
    for name in CROSS:
        assert mixed[f'loss_term_{name}'].dtype == torch.float32
        assert mixed[f'loss_term_{name}'].item() == pytest.approx(exact[f'loss_term_{name}'].item(), rel=0.1)


def said_of(student, teacher, terms, **options):
    distiller = feature_kd(student, teacher, terms, **options)
    distiller.prepare(batch_for(distiller)['inputs'])


CROSS_SCORES = dict(loss=dict(type='mmkd.CrossKDClassLoss'), places='cross_scores')
RETINA = detector('RetinaHead')
REFUSED = {
    'no distributions': (RETINA, RETINA, LD, r"ld.loss: the student's RetinaHead says by one number where the side"),
    "not the teacher's either": (detector(), detector('ATSSHead'), LD, r"ld.loss: the teacher's ATSSHead says by one"),
    'other bins': (detector(), detector(reg_max=9), LD, r"ld.loss: the student's head has 7 as its reg_max, the .* 9"),
    'proposals': (two_stages(), two_stages(), LD, r'ld.places: the student, a FasterRCNN, has no dense head'),
    'other anchors': (
        detector(convs=2),
        detector(anchor_generator=dict(ONE_PER_PLACE, octave_base_scale=4)),
        {},
        r'teacher: its head scores .* cannot be compared; leave out model\.terms\.ld\.$',
    ),
    'a classifier of boxes': (detector(), detector(), dict(x=dict(LD['ld'], places='cross_scores')), r'x.loss: LDLoss'),
    'no centerness': (RETINA, RETINA, CENTERNESS, r"center.places: the student's RetinaHead predicts no centerness;"),
    'fewer convolutions': (
        detector(convs=1),
        detector(convs=3),
        dict(x=CROSS_SCORES),
        r"x.own_convs: 2 of the student's convolutions are to come before the teacher's, and both .* has 1, the .* 3",
    ),
    'too many': (detector(), detector(), dict(x=dict(CROSS_SCORES, own_convs=2)), r'x.own_convs: 2 of the student'),
    'widths without a map': (
        detector(),
        detector(width=12),
        dict(x=dict(CROSS_SCORES, adapt=False)),
        r"x.adapt: the widths of both heads' convolutions differ \(\(8, 12\)\), so a map must join them",
    ),
}


@pytest.mark.parametrize(('student', 'teacher', 'terms', 'said'), REFUSED.values(), ids=REFUSED)
def test_heads_that_do_not_fit_are_refused_before_the_training(student, teacher, terms, said):
    key = r'model\.' if not terms else r'model\.terms\.'
    with pytest.raises(UserError, match=f'^{key}{said}'):
        said_of(student, teacher, terms or LD)


def scored(loss, **options):
    return dict(scores=dict(loss=dict(type=f'mmkd.{loss}', **options), places='scores'))


@pytest.mark.parametrize(
    ('model', 'terms'),
    [
        (two_stages(), scored('DKDLoss', tau=1.0, beta=0.25)),
        (two_stages(), scored('WSLDLoss')),
        (two_stages(), scored('DISTLoss', loss_weight=1.0)),
        (detector(), scored('DISTLoss', loss_weight=1.0)),
        (detector(), dict(scores=dict(scored('DISTLoss')['scores'], places='cross_scores'))),
    ],
    ids=['DKD of proposals', 'WSLD of proposals', 'DIST of proposals', 'DIST of points', 'DIST of cross scores'],
)
def test_class_scores_of_detectors_teach(model, terms):
    distiller, data = prepared(model, model, terms)
    loss = distiller(**data, mode='loss')['loss_term_scores']
    assert loss.isfinite()
    loss.backward()
    assert any(parameter.grad is not None for parameter in distiller.student.neck.parameters())


def test_labels_of_proposals_are_those_of_the_students_own_loss():
    distiller, data = prepared(two_stages(), two_stages(), scored('DKDLoss', tau=1.0, beta=0.25))
    given, told = [], []
    loss = distiller.terms['scores'].loss
    loss.register_forward_pre_hook(lambda _, args, kwargs: given.append((args, kwargs)), with_kwargs=True)
    own = distiller.student.roi_head.bbox_head.loss_cls
    own.register_forward_pre_hook(lambda _, args: told.append(args))
    distiller(**data, mode='loss')
    ((scores, _), labels), (own_scores, own_labels, *_) = (given[0][0], given[0][1]['labels']), told[0]
    assert torch.equal(scores.logits, own_scores)
    assert torch.equal(labels, own_labels)
    assert labels.unique().tolist()[-1] == 3  # the background
    assert len(labels.unique()) > 1


@pytest.mark.parametrize(
    ('model', 'loss', 'said'),
    [
        (detector(), 'SoftTargetLoss', r'SoftTargetLoss: it compares the scores of classifiers; for detectors take'),
        (two_stages(), 'SoftTargetLoss', r'SoftTargetLoss: it compares the scores of classifiers; for detectors take'),
        (detector(), 'DKDLoss', r'DKDLoss: it compares a choice of one class, and these heads say yes or no'),
        (detector(), 'WSLDLoss', r'WSLDLoss: it compares a choice of one class, and these heads say yes or no'),
        (detector(), 'LDLoss', r"LDLoss needs weights and divisor, .*places='boxes' or 'near_boxes' or 'cross_boxes'"),
    ],
)
def test_losses_that_cannot_compare_scores_of_detectors_are_refused_before_the_training(model, loss, said):
    with pytest.raises(UserError, match=rf'^model\.terms\.scores\.loss: {said}'):
        said_of(model, model, scored(loss))


@pytest.mark.parametrize(('method', 'key'), [('KD', 'soft_loss'), ('MHKD', 'soft_loss'), ('MHKD', 'head_soft_loss')])
def test_the_other_methods_refuse_them_too(method, key):
    as_in_a_run()
    teacher = dict(config=dict(model=detector(), default_scope='mmdet'), checkpoint=None)
    options = {key: dict(type='mmkd.SoftTargetLoss')}
    distiller = MODELS.build(dict(type=f'mmkd.{method}', student=detector(), teacher=teacher, **options))
    with pytest.raises(UserError, match=rf'^model\.{key}: SoftTargetLoss: it compares the scores of classifiers'):
        distiller.prepare(batch_for(distiller)['inputs'])
