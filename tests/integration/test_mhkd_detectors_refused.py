"""What MHKD and KD of detectors cannot do is refused in one sentence."""

import pytest

from mmkd.errors import UserError
from tests.integration.test_mhkd_detectors import batch_for, distiller_of

REFUSED = {
    'anchors and points': (
        'retinanet/retinanet_r18_fpn_1x_coco',
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
        r'its head scores .* points, the student .* anchors.*model\.alpha=0',
    ),
    'other anchors': (
        'retinanet/retinanet_r18_fpn_1x_coco',
        'gfl/gfl_r50_fpn_1x_coco',
        r'its head scores 96 \+ 24 .* anchors, the student 864 \+ 216 .*model\.alpha=0',
    ),
    'anchors and proposals': (
        'retinanet/retinanet_r18_fpn_1x_coco',
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
        r'a FasterRCNN and a RetinaNet score different places',
    ),
    'cascade': (
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
        'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
        r'it has 3 heads for proposals, the student 1',
    ),
    'objectness': (
        'yolox/yolox_tiny_8xb8-300e_coco',
        'rtmdet/rtmdet_s_8xb32-300e_coco',
        r"its head's scores are a yes or no for each class, the student's a yes or no for each class and objectness",
    ),
}


@pytest.mark.parametrize(('student', 'teacher', 'message'), REFUSED.values(), ids=REFUSED)
def test_scores_of_other_places_are_refused(student, teacher, message):
    distiller = distiller_of(student, teacher)
    with pytest.raises(UserError, match=message):
        distiller.prepare(batch_for(distiller)['inputs'])


def test_other_anchors_of_equal_number_are_refused():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco')
    generator = distiller.teacher.network.bbox_head.prior_generator
    generator.octave_base_scale, generator.scales = 5, generator.scales * 5 / 4
    generator.base_anchors = generator.gen_base_anchors()
    with pytest.raises(UserError, match=r'model\.teacher: its head scores (.*) anchors, the student \1 anchors, and'):
        distiller.prepare(batch_for(distiller)['inputs'])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(gamma=0), r'model\.gamma: with 0 nothing teaches boxes to a detector'),
        (dict(ce_share=0), r'model\.ce_share: with 0 nothing teaches boxes'),
        (dict(target='final'), r"model\.target: 'final' compares an auxiliary head with the detector's own"),
    ],
)
def test_options_that_make_no_sense_for_detectors(options, message):
    with pytest.raises(UserError, match=message):
        distiller_of('retinanet/retinanet_r18_fpn_1x_coco', **options)


def test_other_classes_are_refused():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco')
    distiller.teacher.network.bbox_head.num_classes = 79
    with pytest.raises(UserError, match=r'model\.teacher: it knows 79 classes, the student 80.*mmkd\.SSKD'):
        distiller.prepare(batch_for(distiller)['inputs'])


def test_places_of_other_sizes_are_refused():
    distiller = distiller_of('retinanet/retinanet_r18_fpn_1x_coco', attach=[('layer2', 'layer3')])
    with pytest.raises(UserError, match=r"model\.attach: at layer2 the student's maps have the sizes"):
        distiller.prepare(batch_for(distiller)['inputs'])
