"""Blood cells: a detector whose backbone is pretrained teaches a narrow one from scratch."""

from functools import partial

from arena import Arena, Row, Table
from methods import METHODS, STAGES, WITH_ALL_LABELS, rows
from needed_data import require

SSKD = 'sskd/sskd_gfl_mobilenet-v2_r18-w8_bccd'
FKD = METHODS['featurekd'][1]
NARROW = {
    'mhkd': {
        'model.heads.type': 'mmdet.FCOSHead',
        'model.heads.feat_channels': 64,
        'model.heads.stacked_convs': 1,
        'model.heads.norm_on_bbox': True,
        'model.heads.center_sampling': True,
    }
}
TOGETHER = {
    f'{STAGES}.stages': "[['layer1','layer2','layer3','layer4','neck'],'all']",
    f'{STAGES}.lengths': '[9,27]',
}
EPOCHS_18 = {'train_cfg.max_epochs': 18, 'train_cfg.val_interval': 18}
IN_VARIANCES = {'model.mimic_loss.type': 'mmkd.FeatureMimicLoss', 'model.mimic_loss.scale': 'variance'}
TEACHER = Row(
    'teacher',
    'Teacher, 12 epochs, ImageNet weights',
    'baselines/gfl_mobilenet-v2_bccd',
    {'train_cfg.max_epochs': 12, 'train_cfg.val_interval': 4},
    (0,),
    None,
)
BEST = Row(
    'alone24',
    'Student alone, 24 epochs, its best length',
    'baselines/gfl_r18-w8_bccd',
    {'train_cfg.max_epochs': 24},
    teacher=None,
)
ALONE = Row('alone', 'Student alone', 'baselines/gfl_r18-w8_bccd', teacher=None)
LONGER = Row('alone72', 'Student alone, 72 epochs', ALONE.config, {'train_cfg.max_epochs': 72}, teacher=None)
MAIN = [TEACHER, BEST, ALONE, LONGER, *rows(SSKD, WITH_ALL_LABELS, changes=NARROW)]


def term(key: str, title: str, places: str = "['neck']", **loss: object) -> Row:
    """A row of FeatureKD with one term, the loss of another method with its public weight."""
    options = {f'model.terms.{key}.loss.{name}': value for name, value in loss.items()}
    return Row(key, title, SSKD, {**FKD, f'model.terms.{key}.places': places, **options}, (0,))


KL = dict(tau=1.0, bins='sum', loss_weight=4.0)


def crossed(key: str, title: str, **boxes: object) -> Row:
    """A row of CrossKD: its loss of classes, and one of boxes."""
    options = {f'model.terms.boxes.loss.{name}': value for name, value in boxes.items()}
    options.update({'model.terms.boxes.places': "'cross_boxes'", 'model.terms.classes.places': "'cross_scores'"})
    return Row(key, title, SSKD, {**FKD, 'model.terms.classes.loss.type': 'mmkd.CrossKDClassLoss', **options}, (0,))


OTHERS = [
    term('cwd', 'CWD, weight 10', type='mmkd.CWDLoss'),
    term('pkd', 'PKD, weight 6', type='mmkd.PKDLoss', loss_weight=6.0),
    term('mgd', 'MGD, weight 2e-5', type='mmkd.MGDLoss'),
    term('fgd', 'FGD', type='mmkd.FGDLoss'),
    # of the four levels that were published the last three
    term('fbkd', 'FBKD', type='mmkd.FBKDLoss', reductions='(4,2,2)', strides='(4,2,2)'),
    term('ld', 'LD, weight 0.25', "'boxes'", type='mmkd.LDLoss'),
    term('dist', 'DIST, class scores', "'scores'", type='mmkd.DISTLoss', loss_weight=1.0),
    Row(
        'ld-near',
        'LD, both regions, weight 0.25 each',
        SSKD,
        {
            **FKD,
            'model.terms.ld.places': "'boxes'",
            'model.terms.ld.loss.type': 'mmkd.LDLoss',
            'model.terms.near.places': "'near_boxes'",
            'model.terms.near.loss.type': 'mmkd.LDLoss',
        },
        (0,),
    ),
    crossed('cross-kd', 'CrossKD, boxes as distributions, a map between the widths', type='mmkd.LDLoss', **KL),
    crossed('cross-kd-giou', 'CrossKD, boxes by GIoU, a map between the widths', type='mmkd.CrossKDBoxLoss'),
]
HEAD = {f'{STAGES}.stages': "['head']", 'model.head_from_teacher': False, **EPOCHS_18}
LEVERS = [
    *rows(SSKD, ['mhkd-own']),
    Row(
        'rate3',
        'SSKD, three times the rate in its stages',
        SSKD,
        {f'{STAGES}.overrides.{stage}.lr': 3e-3 for stage in ('layer1', 'layer2', 'layer3', 'layer4', 'neck')},
    ),
    Row(
        'misses',
        'SSKD, each stage as long as what it misses with equal lengths: 114, 114, 141, 167 and 130 iterations',
        SSKD,
        {f'{STAGES}.lengths': '[114,114,141,167,130,666]'},
    ),
    Row(
        'quarter',
        'SSKD, a quarter for the stages: 2 + 2 + 2 + 2 + 1 epochs, everything for 27',
        SSKD,
        {f'{STAGES}.lengths': '[2,2,2,2,1,27]'},
    ),
    Row(
        'no-neck',
        'SSKD, the pyramid is no stage: 4 + 5 + 4 + 5 epochs, everything for 18',
        SSKD,
        {
            f'{STAGES}.stages': "['layer1','layer2','layer3','layer4','all']",
            f'{STAGES}.lengths': '[4,5,4,5,18]',
        },
    ),
    Row('random', 'Control: the head learns on a random frozen backbone and neck, 18 epochs', SSKD, HEAD, (0,)),
    Row(
        'teachers',
        "Control: the head learns on the teacher's own frozen backbone and neck, 18 epochs",
        '../tools/arenas/bccd_teachers_own',
        {
            **HEAD,
            'student.backbone.init_cfg.checkpoint': '{teacher}',
            'student.neck.init_cfg.checkpoint': '{teacher}',
        },
        (0,),
    ),
    Row(
        'stages-all',
        'Stages 2 + 2 + 2 + 3 + 3, everything learns from labels alone for 24 (`weight=0`)',
        SSKD,
        {
            'model.weight': 0,
            f'{STAGES}.stages': "['layer1','layer2','layer3','layer4','neck','all']",
            f'{STAGES}.lengths': '[2,2,2,3,3,24]',
        },
    ),
    Row(
        'together-all',
        'Stages together for 9, everything from labels alone for 27',
        SSKD,
        {'model.weight': 0, **TOGETHER},
        (0,),
    ),
    Row(
        'together-all-var',
        'The same, loss in units of the variance',
        SSKD,
        {'model.weight': 0, **TOGETHER, **IN_VARIANCES},
    ),
    Row(
        'together-featurekd6',
        'Stages together for 9, then features mimicked beside the labels with weight 6 for 27',
        SSKD,
        {**FKD, 'model.weight': 6.0, **TOGETHER},
        (0,),
    ),
    Row(
        'together-featurekd6-var',
        'The same, stages in units of the variance',
        SSKD,
        {**FKD, 'model.weight': 6.0, **TOGETHER, **IN_VARIANCES},
    ),
    Row('featurekd6', 'FeatureKD, the pyramid, weight 6', SSKD, {**FKD, 'model.weight': 6.0}),
    Row('featurekd20', 'FeatureKD, the pyramid, weight 20', SSKD, {**FKD, 'model.weight': 20.0}, (0,)),
    Row(
        'featurekd6-all-stages',
        'FeatureKD, every stage and the pyramid, weight 6',
        SSKD,
        {**FKD, 'model.weight': 6.0, 'model.places': "['layer1','layer2','layer3','layer4','neck']"},
        (0,),
    ),
]


PRETRAINED = 'sskd/sskd_gfl_mobilenet-v2_mobilenet-v2-n32_bccd'
TWELVE = {'train_cfg.max_epochs': 12}


def pretrained() -> list[Row]:
    """The student begins from ImageNet weights as well; only its pyramid and head are narrower than the teacher's."""
    best = Row('alone-pre', 'Student alone', 'baselines/gfl_mobilenet-v2-n32_bccd', TWELVE, teacher=None)
    longer = Row('alone24-pre', 'Student alone, 24 epochs', best.config, {'train_cfg.max_epochs': 24}, teacher=None)
    return [TEACHER, best, longer, *rows(PRETRAINED, ('kd', 'featurekd', 'sskd'), TWELVE, name='{}-pre')]


def why_pretrained_loses() -> list[Row]:
    """What cost SSKD its lead there as long as it had a stage for each part of the backbone, and half the epochs."""
    half = {'train_cfg.max_epochs': 6, 'train_cfg.val_interval': 6}
    neck = {**TWELVE, f'{STAGES}.stages': "['neck','all']"}
    stages = {f'{STAGES}.stages': "['layer2','layer3','layer5','conv2','neck','all']"}
    return [
        Row(
            'stages-pre',
            "SSKD with stages of the backbone as well: 1 + 1 + 2 + 1 and the pyramid's 1, then 6",
            PRETRAINED,
            {**TWELVE, **stages, f'{STAGES}.lengths': '[1,1,2,1,1,6]'},
        ),
        Row('featurekd6-pre', 'FeatureKD, 6 epochs: as long as the last phase of SSKD', PRETRAINED, {**FKD, **half}),
        Row(
            'neck6-pre',
            'SSKD, only the pyramid: 6 epochs, then 6',
            PRETRAINED,
            {**neck, f'{STAGES}.lengths': '[6,6]'},
        ),
        Row('neck2-pre', 'The same, 2 epochs, then 10', PRETRAINED, {**neck, f'{STAGES}.lengths': '[2,10]'}),
    ]


ARENA = Arena(
    title='BCCD: a GFL on a pretrained MobileNetV2 teaches a narrow GFL',
    text="""Blood cells, 291 training and 73 validation photos at 160 pixels, 36 epochs for every student where not said
otherwise, a student of 0.27 million parameters from scratch. The teacher starts from ImageNet weights. MHKD's heads are
64 channels wide. Box AP in per cent at the end. The set is small: a point is within the spread of seeds.

Alone the student is best after 24 epochs; with 72 it ends lower (34.6). A student that is pretrained too has 39.8 after
12 and less (38.8) after 24. The machine of commits e9b70eb, 432767f and 24dfd95 was slower, so the core-seconds of
their rows do not compare with the others'.""",
    metric='coco/bbox_mAP',
    factor=100.0,
    options={
        'train_cfg.max_epochs': 36,
        'train_cfg.val_interval': 12,
        'default_hooks.logger.interval': 37,
        'default_hooks.checkpoint.interval': 6,
    },
    prepare=partial(require, 'data/bccd320/train.json', 'data/mobilenet-v2_imagenet.pth'),
    tables=[
        Table('A student from scratch', [*MAIN, *OTHERS], 'alone24'),
        Table('A student that is pretrained too, 12 epochs', pretrained(), 'alone-pre'),
        Table('', [*MAIN, *OTHERS, *LEVERS], 'alone24', 'levers'),
        Table(
            'A student that is pretrained too, 12 epochs',
            [*pretrained(), *why_pretrained_loses()],
            'alone-pre',
            'levers',
        ),
    ],
)
