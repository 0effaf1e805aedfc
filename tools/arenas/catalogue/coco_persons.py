"""Persons of the COCO subset: a detector whose backbone is pretrained teaches a narrow one from scratch."""

from pathlib import Path

from arena import Arena, Row, Table
from methods import rows

from mmkd.errors import UserError

STUDENT = 'baselines/gfl_r18-w16_coco-subset-person'
HEADS = {
    'mhkd': {
        'model.heads.type': 'mmdet.FCOSHead',
        'model.heads.feat_channels': 64,
        'model.heads.stacked_convs': 1,
        'model.heads.norm_on_bbox': True,
        'model.heads.center_sampling': True,
    }
}
TEACHER = Row(
    'teacher',
    'Teacher, 20 epochs, ImageNet weights',
    'baselines/gfl_mobilenet-v2_coco-subset-person',
    {'train_cfg.max_epochs': 20},
    (0,),
    None,
)
ALONE = Row('alone', 'Student alone', STUDENT, teacher=None)
LONGER = Row('alone72', 'Student alone, 72 epochs', STUDENT, {'train_cfg.max_epochs': 72}, (0,), None)
METHODS = rows(
    'sskd/sskd_gfl_mobilenet-v2_r18-w16_coco-subset-person',
    ('kd', 'mhkd', 'featurekd', 'sskd', 'paper'),
    changes=HEADS,
)


def prepare() -> None:
    """Say how to get what is missing."""
    for path in Path('data/coco_subset/annotations/person_train.json'), Path('data/mobilenet-v2_imagenet.pth'):
        if not path.is_file():
            raise UserError(f'{path} does not exist; docs/data.md, "The COCO subset", says how to get it.')


ARENA = Arena(
    title='COCO subset, persons: a GFL on a pretrained MobileNetV2 teaches a narrow GFL',
    text="""Persons in photos, the COCO subset, not COCO: 2,218 training and 500 validation images at 192 pixels. 36
epochs for every student where not said otherwise, a student of 1.0 million parameters from scratch. The teacher starts
from ImageNet weights. Box AP in per cent at the end. Whether the student alone has converged by then is not known yet:
the row with twice the length tells.""",
    metric='coco/bbox_mAP',
    factor=100.0,
    options={
        'train_cfg.max_epochs': 36,
        'train_cfg.val_interval': 12,
        'default_hooks.logger.interval': 139,
        'default_hooks.checkpoint.interval': 4,
    },
    prepare=prepare,
    tables=[Table('', [TEACHER, ALONE, LONGER, *METHODS])],
)
