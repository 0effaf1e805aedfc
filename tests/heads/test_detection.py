import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmkd.errors import UserError
from mmkd.heads import build_dense_head, class_scores
from mmkd.stages.plan import Stage

pytest.importorskip('mmdet')

FCOS = dict(type='mmdet.FCOSHead', feat_channels=32, stacked_convs=1)
ATSS_ASSIGNER = dict(assigner=dict(type='mmdet.ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
HEADS = {
    'FCOS': FCOS,
    'RetinaNet': dict(
        type='mmdet.RetinaHead',
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0]
        ),
        train_cfg=dict(
            assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='mmdet.PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
    ),
    'softmax': dict(
        type='mmdet.AnchorHead',
        feat_channels=8,
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
        train_cfg=dict(
            assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='mmdet.PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
    ),
    'GFL': dict(
        type='mmdet.GFLHead',
        feat_channels=32,
        stacked_convs=1,
        anchor_generator=dict(type='mmdet.AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1),
        loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_dfl=dict(type='mmdet.DistributionFocalLoss', loss_weight=0.25),
        loss_bbox=dict(type='mmdet.GIoULoss', loss_weight=2.0),
        train_cfg=ATSS_ASSIGNER,
    ),
    'YOLOX': dict(
        type='mmdet.YOLOXHead',
        feat_channels=8,
        stacked_convs=1,
        train_cfg=dict(assigner=dict(type='mmdet.SimOTAAssigner', center_radius=2.5)),
    ),
}


def stage(*shapes: tuple[int, ...], grid: tuple[int, int] = (8, 12), stride: int = 8) -> Stage:
    return Stage('layer2', 'backbone.layer2', 1, shapes, stride, grid, (), ())


STAGES = {
    'map': stage((5, 8, 12)),
    'tokens': stage((96, 5)),
    'channels last': stage((8, 12, 5)),
    'pyramid': stage((5, 8, 12), (5, 4, 6), (5, 2, 3)),
}


class Sample(dict):
    """Attributes of an mmdet head that the code reads."""

    def __init__(self, boxes):
        instances = InstanceData(
            bboxes=torch.tensor(boxes).view(-1, 4), labels=torch.zeros(len(boxes), dtype=torch.long)
        )
        super().__init__()
        self.gt_instances = instances
        self.metainfo = dict(img_shape=(64, 96), batch_input_shape=(64, 96), pad_shape=(64, 96))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.mark.parametrize('of', STAGES.values(), ids=STAGES)
@pytest.mark.parametrize('cfg', HEADS.values(), ids=HEADS)
def test_any_dense_head_on_any_feature_learns_from_boxes_and_from_none(cfg, of):
    before = copy.deepcopy(cfg)
    head = build_dense_head(cfg, of, 3)
    assert cfg == before
    feature = tuple(torch.rand(2, *shape) for shape in of.shapes)
    output = head(feature)
    scores = class_scores(head.head, output)
    places = 96 + (24 + 6) * (len(of.shapes) == 3)
    assert scores.logits.shape[0] % (2 * places) == 0
    assert scores.logits.shape[1] == 3 + (not scores.sigmoid)  # class of the background
    assert scores.sigmoid == ('AnchorHead' not in cfg['type'])
    assert (scores.objectness is not None) == ('YOLOX' in cfg['type'])
    for boxes in ([[8.0, 8.0, 40.0, 40.0]], []):
        losses = head.own_losses(output, [Sample(boxes), Sample([])])
        terms = [term for loss in losses.values() for term in (loss if isinstance(loss, list) else [loss])]
        assert all(term.isfinite().all() for term in terms)


def test_ignored_regions_teach_a_head_nothing():
    cfg = copy.deepcopy(HEADS['RetinaNet'])
    cfg['train_cfg']['assigner']['ignore_iof_thr'] = 0.5
    head = build_dense_head(cfg, STAGES['map'], 3)
    torch.nn.init.zeros_(head.head.retina_cls.bias)  # otherwise the background counts little
    output = head((torch.rand(1, *STAGES['map'].shapes[0]),))
    plain, ignoring = Sample([[8.0, 8.0, 40.0, 40.0]]), Sample([[8.0, 8.0, 40.0, 40.0]])
    ignoring['ignored_instances'] = InstanceData(bboxes=torch.tensor([[48.0, 0.0, 96.0, 64.0]]))
    counted = [head.own_losses(output, [sample])['loss_cls'][0].item() for sample in (plain, ignoring)]
    assert counted[1] < 0.9 * counted[0]  # half of the image is ignored


def test_strides_of_every_level_are_filled_in():
    assert build_dense_head(FCOS, STAGES['pyramid'], 3).head.strides == [8, 16, 32]
    ranges = build_dense_head(FCOS, STAGES['pyramid'], 3).head.regress_ranges
    assert ranges == ((-1, 64), (64, 128), (128, 1e8))
    assert build_dense_head(FCOS, STAGES['map'], 3).head.regress_ranges == ((-1, 1e8),)
    assert build_dense_head(HEADS['GFL'], STAGES['map'], 3).head.prior_generator.strides == [(8, 8)]


def test_what_the_user_says_stays():
    head = build_dense_head({**FCOS, 'strides': [7], 'regress_ranges': [[-1, 5]]}, STAGES['map'], 3).head
    assert head.strides == [7]
    assert head.regress_ranges == [[-1, 5]]


def test_rows_are_the_places_of_one_image_after_the_other():
    head = build_dense_head(HEADS['RetinaNet'], STAGES['pyramid'], 3)
    feature = tuple(torch.rand(2, *shape) for shape in STAGES['pyramid'].shapes)
    maps = head(feature)[0]
    rows = class_scores(head.head, (maps,)).logits.view(2, -1, 3)
    anchors = 6
    assert rows.shape[1] == anchors * (96 + 24 + 6)
    level, anchor, y, x = 1, 4, 2, 5
    row = anchors * 96 + (y * 6 + x) * anchors + anchor
    assert torch.equal(rows[1, row], maps[level][1, 3 * anchor : 3 * anchor + 3, y, x])


def test_probabilities_become_scores():
    head = build_dense_head(FCOS, STAGES['map'], 3).head
    head.loss_cls.activated = True
    maps = [torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)]
    assert class_scores(head, (maps,)).logits.sigmoid().tolist()[0] == pytest.approx([0.2, 0.5, 0.9])


def test_building_moves_no_batch_statistics():
    head = build_dense_head(HEADS['YOLOX'], STAGES['map'], 3)
    moved = [name for name, value in head.state_dict().items() if name.endswith('num_batches_tracked') and value]
    assert moved == []


@pytest.mark.parametrize(
    ('cfg', 'of', 'message'),
    [
        (dict(feat_channels=4), STAGES['map'], r"must be dict\(type='mmdet\.FCOSHead', \.\.\.\) or another dense head"),
        (dict(type='mmdet.NoHead'), STAGES['map'], "no model is registered as 'mmdet.NoHead'"),
        (FCOS, stage((5, 8, 12), (6, 4, 6)), r'tensors of different widths \(5, 6\)'),
        ({**HEADS['GFL'], 'train_cfg': None}, STAGES['map'], 'cannot be built or cannot learn .*with its train_cfg'),
        ({**FCOS, 'nonsense': 1}, STAGES['map'], 'cannot be built or cannot learn .*nonsense'),
        ({**FCOS, 'feat_channels': 8}, STAGES['map'], 'cannot be built or cannot learn'),
        (dict(type='mmdet.Shared2FCBBoxHead'), STAGES['map'], 'scores no classes at anchors or points'),
    ],
)
def test_refused(cfg, of, message):
    with pytest.raises(UserError, match=rf'model\.heads: the head of stage layer2.*{message}'):
        build_dense_head(cfg, of, 3)
