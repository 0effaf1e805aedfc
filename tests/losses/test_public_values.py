"""Each loss has the value and the gradients of the public implementation (see known.py)."""

import pytest
import torch

from mmkd.losses import (
    ABLoss,
    ATLoss,
    CCLoss,
    ClassScores,
    CRDLoss,
    CrossKDClassLoss,
    CWDLoss,
    DISTLoss,
    DKDLoss,
    FBKDLoss,
    FGDLoss,
    FitNetLoss,
    FSPLoss,
    ICKDLoss,
    LDLoss,
    MGDLoss,
    NSTLoss,
    OFDLoss,
    PKDLoss,
    PKTLoss,
    ReviewKDLoss,
    RKDLoss,
    SoftTargetLoss,
    SPLoss,
    SRRLLoss,
    VIDLoss,
    WSLDLoss,
)
from mmkd.losses.box_masks import masks
from mmkd.losses.cross_kd import as_teachers
from mmkd.losses.review_kd import context_distance
from tests.losses.known import Known

SCORES = {
    'kd': SoftTargetLoss(),
    'kd_map': SoftTargetLoss(tau=2),
    'logit_std': SoftTargetLoss(tau=2, standardise=True),
    'dkd': DKDLoss(),
    'dkd_logit_std': DKDLoss(tau=2, standardise=True),
    'dist': DISTLoss(loss_weight=1),
    'dist_tau4': DISTLoss(tau=4, loss_weight=1),
    'wsld': WSLDLoss(),
}

FEATURES = {
    'at': ATLoss(loss_weight=1),
    'at_resize': ATLoss(loss_weight=1),
    'sp': SPLoss(loss_weight=1),
    'rkd_distance': RKDLoss(angle=0),
    'rkd_angle': RKDLoss(distance=0),
    'rkd': RKDLoss(),
    'pkt': PKTLoss(loss_weight=1),
    'nst': NSTLoss(loss_weight=1),
    'nst_resize': NSTLoss(loss_weight=1),
    'ab': ABLoss(),
    'fsp': FSPLoss(),
    'cwd': CWDLoss(loss_weight=1),
    'cwd_tau4': CWDLoss(tau=4, loss_weight=1),
    'pkd': PKDLoss(),
}

REGRESSOR = {r'regressor\.conv': 'parts.0.regress.0', r'regressor\.bn': 'parts.0.regress.1'}
GENERATOR = {r'mgd(\d?)\.generation': r'parts.\1.generate'}
VARIANCES = {r'vid(\d)\.': r'parts.\1.', 'regressor': 'mean'}
FUSIONS = {r'abf(\d)': r'parts.\1', 'conv1': 'reduce', 'conv2': 'expand', 'att_conv': 'attention'}
RELATIONS = {
    r'[st](\d)\.(?=\w)': r'parts.\1.',
    'channel_wise_adaptation': 'channels',
    'spatial_wise_adaptation': 'places',
    'non_local_adaptation': 'relations',
    'adaptation_layers': 'features',
    'student_non_local': 'own_relations',
    'teacher_non_local': 'target_relations',
    r'g\.0\.0\.conv': 'value',
    r'phi\.0\.0\.conv': 'key',
    r'theta\.conv': 'query',
    r'conv_out\.conv': 'out.0',
    r'conv_out\.bn': 'out.1',
}
CONTEXTS = {
    r'fgd(\d)': r'parts.\1',
    r'conv_mask_s': 'own_context.attention',
    r'conv_mask_t': 'target_context.attention',
    'channel_add_conv_s': 'own_context.transform',
    'channel_add_conv_t': 'target_context.transform',
}
LEARNED = {
    'fitnet': (FitNetLoss(loss_weight=1), REGRESSOR),
    'fitnet_down': (FitNetLoss(loss_weight=1), REGRESSOR),
    'fitnet_up': (FitNetLoss(loss_weight=1), REGRESSOR),
    'cc': (CCLoss(16, loss_weight=1), {r'embed_s\.linear': 'parts.0.student', r'embed_t\.linear': 'parts.0.teacher'}),
    'vid': (VIDLoss(), VARIANCES),
    'vid_resize': (VIDLoss(), VARIANCES),
    'ickd': (ICKDLoss(loss_weight=1), {r'embed_s\.conv2d': 'parts.0.embed.0', r'embed_s\.l2norm': 'parts.0.embed.1'}),
    'reviewkd': (ReviewKDLoss(), FUSIONS),
    'fbkd': (FBKDLoss(reductions=(4, 2), strides=(2, 2)), RELATIONS),
}


@pytest.mark.parametrize('name', SCORES)
def test_scores(name):
    known, loss = Known(name), SCORES[name]
    given = {'labels': known['labels']} if 'labels' in loss.needs else {}
    known.check(loss(known.students[0], known.teachers[0], **given), rel=1e-7 if name in ('dkd', 'wsld') else 1e-8)


@pytest.mark.parametrize('name', ['dist_det_sigmoid', 'dist_det_softmax', 'dist_seg'])
def test_dist_of_detectors_and_pixels(name):
    known, loss = Known(name), DISTLoss(loss_weight=1)
    rows = [x.movedim(1, -1).flatten(0, -2) for x in known.students + known.teachers]
    scores = [ClassScores(x, sigmoid=name == 'dist_det_sigmoid') for x in rows]
    levels = len(known.students)
    known.check(sum(loss(own, target) for own, target in zip(scores[:levels], scores[levels:])))


@pytest.mark.parametrize('name', FEATURES)
def test_features(name):
    known = Known(name)
    known.check(FEATURES[name](known.students, known.teachers))


@pytest.mark.parametrize('name', LEARNED)
def test_features_with_parameters(name):
    known, (loss, renames) = Known(name), LEARNED[name]
    loss.build_for(*known.shapes)
    known.load(loss, renames)
    known.check(loss(known.students, known.teachers), loss)


@pytest.mark.parametrize('name', ['mgd_det', 'mgd_cls'])
def test_mgd(name, monkeypatch):
    known = Known(name)
    loss = MGDLoss() if name == 'mgd_det' else MGDLoss(0.15, 'channels', 7e-5)
    loss.build_for(*known.shapes)
    known.load(loss, {r'mgd(\d)\.generation': r'parts.\1.generate', r'mgd\.generation': 'parts.0.generate'})
    for part, key in zip(loss.parts, sorted(name for name in known.names if name.startswith('mask'))):
        assert part.kept(known.students[0]).shape[1] == (1 if name == 'mgd_det' else 8)
        monkeypatch.setattr(part, 'kept', lambda feature, mask=known[key]: mask)
    known.check(loss(known.students, known.teachers), loss)


def test_hierarchical_context():
    known = Known('hcl')
    known.check(sum(context_distance(own, target) for own, target in zip(known.students, known.teachers)))


def test_ofd():
    known, loss = Known('ofd'), OFDLoss(loss_weight=1)
    norms = [(known[f'bn_weight{level}'], known[f'bn_bias{level}']) for level in range(3)]
    loss.build_for(*known.shapes, teacher_norms=norms)
    known.load(loss, {r'connector(\d)': r'parts.\1.connect'})
    for level, part in enumerate(loss.parts):
        torch.testing.assert_close(part.margin.flatten(), known[f'margin{level}'], rtol=1e-6, atol=1e-7)
    known.check(loss(known.students, known.teachers), rel=1e-6)


def test_srrl():
    known, loss = Known('srrl'), SRRLLoss()
    loss.build_for(*known.shapes)
    known.load(loss, {r'transfer\.transfer': 'parts.0.translate'})

    def head(feature):
        return torch.nn.functional.linear(feature, known['classifier_weight'], known['classifier_bias'])

    known.check(loss(known.students, known.teachers, teacher_head=head), loss)


@pytest.mark.parametrize('name', ['crd', 'crd_step2'])
def test_crd(name, monkeypatch):
    known, loss = Known(name), CRDLoss(16, 31, loss_weight=1)
    loss.build_for(*known.shapes, samples=64)
    known.load(loss, {r'embed_s\.linear': 'student.embed', r'embed_t\.linear': 'teacher.embed'})
    for side, short in (loss.student, 's'), (loss.teacher, 't'):
        side.memory.copy_(known[f'memory_{short}'])
        if f'Z_{short}' in known.names:
            side.normaliser.copy_(known[f'Z_{short}'])
    monkeypatch.setattr(loss, 'draw', lambda labels: known['contrast_index'][:, 1:])
    labels = torch.arange(6)
    value = loss(known.students, known.teachers, indices=known['index'], labels=labels)
    known.check(value, loss, rel=1e-6)
    for side, short in (loss.student, 's'), (loss.teacher, 't'):
        torch.testing.assert_close(side.memory, known[f'term.memory_{short}_after'], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(side.normaliser, known[f'term.Z_{short}'], rtol=1e-6, atol=0)
    assert loss.classes[known['index']].equal(labels)


def test_fgd():
    known, loss = Known('fgd'), FGDLoss()
    boxes = list(known['boxes'].split(known['boxes_per_image'].tolist()))
    given = dict(boxes=boxes, image_sizes=known['img_shape'].tolist())
    for level, target in enumerate(known.teachers):
        for found, key in zip(masks(**given, like=target), ('fg', 'bg')):
            torch.testing.assert_close(found[:, 0], known[f'term.mask_{key}{level}'], rtol=1e-6, atol=0)
    loss.build_for(*known.shapes)
    known.load(loss, CONTEXTS)
    known.check(loss(known.students, known.teachers, **given), loss, rel=1e-6)


def test_ld():
    known = Known('ld')
    both = known.students[0], known.teachers[0]
    known.check(LDLoss()(*both, known['weight'], 4.0))
    weights = torch.ones(48)
    assert LDLoss()(*both, known['weight'], 16).item() == pytest.approx(known['term.vlr_avg16'].item(), rel=1e-8)
    assert LDLoss(loss_weight=0)(*both, weights, 1) == 0


def test_cross_kd():
    eps = torch.finfo(torch.float32).eps  # CrossKD's code adds this to the divisor
    known = Known('crosskd_qfl')
    known.check(CrossKDClassLoss()(known.students[0], known.teachers[0], known['weight'], 6 + eps))
    known = Known('crosskd_box_kl')
    known.check(LDLoss(1, 'sum', 4.0)(known.students[0], known.teachers[0], known['weight'], 4 + eps))
    known = Known('crosskd_align')
    known.check((known['probe'] * as_teachers(known.students[0], known.teachers[0])).sum())
