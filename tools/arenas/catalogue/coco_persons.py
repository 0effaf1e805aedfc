"""Persons of the COCO subset: a detector whose backbone is pretrained teaches a narrow one from scratch."""

from functools import partial

from arena import Arena, Row, Table
from methods import BFLOAT16, WITH_ALL_LABELS, rows
from needed_data import require

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
TWELVE = {'train_cfg.max_epochs': 12, 'train_cfg.val_interval': 4}
TEACHER = Row(
    'teacher',
    'Teacher, 12 epochs, ImageNet weights',
    'baselines/gfl_mobilenet-v2_coco-subset-person',
    TWELVE,
    (0,),
    None,
)
ALONE = Row('alone', 'Student alone', STUDENT, teacher=None)
LONGER = Row('alone48', 'Student alone, 48 epochs', STUDENT, {'train_cfg.max_epochs': 48}, teacher=None)
METHODS = rows(
    'sskd/sskd_gfl_mobilenet-v2_r18-w16_coco-subset-person',
    WITH_ALL_LABELS,
    changes=HEADS,
)


def pretrained() -> list[Row]:
    """The student begins from ImageNet weights as well; only its pyramid and head are narrower than the teacher's."""
    brief = {**TWELVE, **BFLOAT16}
    alone = Row('alone-pre', ALONE.title, 'baselines/gfl_mobilenet-v2-n32_coco-subset-person', brief, (0,), None)
    config = 'sskd/sskd_gfl_mobilenet-v2_mobilenet-v2-n32_coco-subset-person'
    return [TEACHER, alone, *rows(config, ('sskd',), brief, name='{}-pre', seeds=(0,))]


ARENA = Arena(
    title='COCO subset, persons: a GFL on a pretrained MobileNetV2 teaches a narrow GFL',
    text="""Persons in photos, the COCO subset, not COCO: 2,218 training and 500 validation images at 192 pixels. 24
epochs for every student where not said otherwise, a student of 1.0 million parameters from scratch. The teacher starts
from ImageNet weights. MHKD's heads are 64 channels wide. Box AP in per cent at the end. Alone the student has converged
by then: with twice the length it ends lower, after a best of 5.8 at epoch 12. A student that is pretrained too comes
within half a point of its teacher alone, so the other methods and seeds were not trained with it.

Trained before, with nothing pretrained: a GFL whose ResNet-18 is 32 channels wide teaches one 16 channels wide (3.1 and
1.0 million parameters), 10 epochs and 20 for the teacher, AdamW at 1e-3 with a cosine, batches of 16, by the configs
`*gfl_r18-w32_r18-w16_coco-subset*`; seed 0, last epoch, one core, torch 2.14.1, by hand from the logs. Persons, box AP
(AP50; minutes of the core; commit): teacher 6.2 (17.0; 38; 462d038), student alone 5.8 (15.3; 12; 9991abe), MHKD 5.9
(16.2; not measured; 1b7e04e), the paper's SSKD, its adapters learned and one epoch a stage, 2.9 (8.6; 7; 9991abe). All
80 classes (2,296 training images): 0.5 (1.3; 36; 5e852ba), 0.4 (1.0; 12; 2e1cc52), 0.6 (1.4; about 26; 4d1988e), 0.2
(0.5; 7; c54e46e). These teachers are hardly ahead, so this shows that one class and 80 work, not which method is
better; hence the teacher above. SSKD's loss is no chance: its stages kept half of their first mimic loss.""",
    metric='coco/bbox_mAP',
    factor=100.0,
    options={
        'train_cfg.max_epochs': 24,
        'train_cfg.val_interval': 6,
        'default_hooks.logger.interval': 139,
        'default_hooks.checkpoint.interval': 4,
    },
    prepare=partial(require, 'data/coco_subset/annotations/person_train.json', 'data/mobilenet-v2_imagenet.pth'),
    tables=[
        Table('A student from scratch', [TEACHER, ALONE, LONGER, *METHODS]),
        Table('Persons by a student that is pretrained too, 12 epochs in bfloat16', pretrained(), 'alone-pre'),
    ],
)
