"""The teacher's heads give the same results for the student's proposals as for their own."""

import copy

import pytest
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.utils.configs import load_config
from tests.mmdet_detectors import as_in_a_run, batches_for, slim

pytest.importorskip('mmdet')
from mmdet.models.roi_heads import StandardRoIHead

CONFIGS = {
    'HTC': 'htc/htc_r50_fpn_1x_coco',
    'HTC without semantics': 'htc/htc-without-semantic_r50_fpn_1x_coco',
    'Sparse R-CNN': 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco',
    'Double-Head': 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco',
    'C4': 'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco',
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
}


@MODELS.register_module(force=True)
class ShiftedRoIHead(StandardRoIHead):
    """A RoI head whose ``forward`` shifts the features; its training and prediction do not call it."""

    def forward(self, x, *args):
        return super().forward([level + 1 for level in x], *args)


def model_of(name: str) -> dict:
    model = load_config(f'mmdet::{CONFIGS[name]}.py').model
    model.backbone.update(init_cfg=None, frozen_stages=-1, norm_eval=False, depth=50)
    model.backbone.norm_cfg.requires_grad = True
    model.get('roi_head', {}).get('shared_head', {}).pop('init_cfg', None)
    if name == 'C4':
        model.train_cfg.rpn.allowed_border = -1
        model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
        model.train_cfg.rcnn.sampler.num = 16
        return model
    if name == 'Sparse R-CNN':
        model.rpn_head.num_proposals = 10
        return model
    return slim(model)


def kd(name: str, **roi_head):
    """Soft targets between two networks with the same weights, and a batch."""
    as_in_a_run()
    student = model_of(name)
    other = copy.deepcopy(student)
    other.roi_head.update(roi_head)
    config = dict(model=other, default_scope='mmdet')
    distiller = MODELS.build(dict(type='mmkd.KD', student=student, teacher=dict(config=config, checkpoint=None)))
    distiller.init_weights()
    distiller.teacher.network.load_state_dict(distiller.student.state_dict())
    return distiller, batches_for(distiller, with_mask='mask_head' in student.roi_head)[0]


@pytest.mark.parametrize('name', ['HTC without semantics', 'Double-Head', 'C4'])
def test_an_equal_teacher_teaches_nothing(name):
    distiller, data = kd(name)
    distiller.prepare(data['inputs'])
    distiller.enter([stage.name for stage in distiller.plan])
    distiller.eval()
    assert distiller(**data, mode='loss')['loss_soft'].item() == pytest.approx(0, abs=1e-4)
    for parameter in distiller.teacher.network.roi_head.parameters():
        parameter.data.mul_(0.1)
    assert distiller(**data, mode='loss')['loss_soft'].item() > 1e-3


@pytest.mark.parametrize(
    ('name', 'head', 'why'),
    [('HTC', 'HybridTaskCascadeRoIHead', 'TypeError: .*'), ('Sparse R-CNN', 'SparseRoIHead', 'AttributeError: .*')],
)
def test_heads_that_score_by_more_than_boxes_are_refused_at_the_start(name, head, why):
    distiller, data = kd(name)
    sentence = rf'^model\.\w+: its {head} cannot score .* \({why}\); set model\.alpha=0 to leave'
    with pytest.raises(UserError, match=sentence):
        distiller.prepare(data['inputs'])


def test_scores_that_are_not_the_teachers_own_are_refused():
    distiller, data = kd('Faster R-CNN', type='ShiftedRoIHead')
    sentence = r'^model\.teacher: its ShiftedRoIHead cannot score .* \(its own scores of them are others\); set model'
    with pytest.raises(UserError, match=sentence):
        distiller.prepare(data['inputs'])
