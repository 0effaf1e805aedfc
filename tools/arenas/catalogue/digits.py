"""Few labels on handwritten digits: the demo's trainings, every method, SSKD's levers and its two controls."""

from dataclasses import replace

import open_points
from arena import Arena, Row, Table
from methods import BFLOAT16, NARROW, STAGES, WITH_ALL_LABELS, WITH_FEW_LABELS, rows
from open_points import PAIR

KD = f'kd/kd_{PAIR}-5-labels'
SSKD = {'model.type': 'mmkd.SSKD'}
NO_LABELS = f'sskd/sskd_{PAIR}-no-labels'
TEACHER = Row('teacher', 'Teacher, all labels', 'baselines/resnet18-w32_digits', seeds=(0,), teacher=None)
NO_LABEL = Row('nolabels', "**No labels**: SSKD's stages only, then the teacher's head as it is", NO_LABELS)


def labelled(labels: int | None) -> dict[str, object]:
    """So many labelled images of each class, all others without; of 800 iterations of 50 each as in the demo."""
    if labels == 5:  # as the configs have it
        return {}
    if labels is None:
        return {'train_dataloader.dataset.per_class': None}
    return {
        'train_dataloader.dataset.per_class': f'(0,{labels})',
        'train_dataloader.batch_size': min(50, 10 * labels),
    }


def table(labels: int | None) -> Table:
    """Every method with so many labels a class."""
    options, name = labelled(labels), f'{{}}{labels or "all"}'
    alone = name.format('alone')
    plain = Row(alone, 'Student alone', 'baselines/resnet18-w16_digits-5-labels', options, teacher=None)
    if labels is None:
        options = {**options, 'unlabelled_dataloader': None}
    elif options:
        options = {**options, 'unlabelled_dataloader.dataset.per_class': f'({labels},None)'}
    keys = [*WITH_FEW_LABELS, 'paper'] if labels else WITH_ALL_LABELS
    methods = rows(KD, keys, options, NARROW, name)
    heading = f'{labels} labels a class' if labels else 'All labels (about 143 a class)'
    return Table(heading, [TEACHER, plain, *methods, NO_LABEL], alone)


def five() -> Table:
    """The demo's labels, and the student alone for longer."""
    found = table(5)
    longer = [
        Row(
            key,
            f'Student alone, {iterations:,} iterations',
            found.rows[1].config,
            {'train_cfg.max_iters': iterations, 'default_hooks.checkpoint.interval': iterations},
            (0, 1),
            None,
        )
        for key, iterations in (('alone5-longer', 2000), ('alone5-3600', 3600))
    ]
    return Table(found.heading, [*found.rows[:2], *longer, *found.rows[2:]], found.alone)


def levers() -> Table:
    """What makes SSKD pay with 5 labels a class, and its controls."""
    head = {
        f'{STAGES}.stages': "['head']",
        'model.head_from_teacher': False,
        'train_dataloader.dataset.per_class': '(0,5)',
        'train_dataloader.batch_size': 50,
        'train_cfg.max_iters': 400,  # the last half of the 800
        'default_hooks.checkpoint.interval': 400,
    }
    fast = {f'{STAGES}.overrides.layer{number}.lr': 0.3 for number in (1, 2, 3, 4)}
    overlap = {f'{STAGES}.stages': "['layer1',['layer1','layer2'],['layer2','layer3'],['layer3','layer4']]"}
    wide = {
        'student.backbone.stem_channels': 32,
        'student.backbone.base_channels': 32,
        'student.head.in_channels': 256,
        'student.backbone.init_cfg.type': 'Pretrained',
        'student.backbone.init_cfg.prefix': 'backbone.',
        'student.backbone.init_cfg.checkpoint': '{teacher}',
    }
    slow = {**SSKD, 'model.weight': 0, f'{STAGES}.overrides.all.lr': 0.01}
    mimic = {**SSKD, 'model.weight': 1, 'model.feature_loss.type': 'mmkd.FeatureMimicLoss'}
    five = table(5).rows
    few = [
        *rows(KD, ['mhkd-own'], name='{}5'),
        *rows(KD, ['labels'], name='{}5', seeds=(0, 1)),
        Row('nolabels-rate3', 'No labels, three times the rate', NO_LABELS, fast, (0,)),
        Row(
            'nolabels-overlap',
            'No labels, stages that overlap: 1, 1 + 2, 2 + 3, 3 + 4, 200 iterations each',
            NO_LABELS,
            overlap,
            (0,),
        ),
        Row('slow5', 'The same at a tenth of the rate', KD, slow, (0,)),
        Row('six5', 'SSKD with weight 6', KD, {**SSKD, 'model.weight': 6}, (1, 2)),
        Row('mimic5', 'SSKD with `mmkd.FeatureMimicLoss`, weight 1', KD, mimic, (0,)),
        Row('random5', 'Control: a head learns on a random frozen backbone, 400 iterations', NO_LABELS, head, (0,)),
        Row(
            'teachers5',
            "Control: a head learns on the teacher's own frozen backbone, 400 iterations",
            NO_LABELS,
            {**head, **wide},
            (0,),
        ),
    ]
    low = [
        replace(row, key=f'{row.key}-bfloat16', title=f'{row.title}, in bfloat16', options={**row.options, **BFLOAT16})
        for row in five
        if row.key in ('alone5', 'kd5', 'sskd5')
    ]
    return Table('5 labels a class', [*five, *few, *low], 'alone5', 'levers')


def short() -> Table:
    """What the papers leave open."""
    heading = f'5 labels a class, {open_points.ITERATIONS} iterations'
    return Table(heading, [TEACHER, *open_points.rows()], 'short-alone', 'ablations')


ARENA = Arena(
    title='Digits with few labels: a ResNet-18 teaches one half as wide',
    text="""scikit-learn's handwritten digits, 8x8 pixels enlarged to 16x16. The demo's trainings: 1,437 training
images, of which the first so many of each class have labels (the same for all seeds), and 360 test images, so 0.3
points are one image; 800 iterations, SSKD's stages in the first half. The methods learn from the images without labels
as well; the student alone cannot. MHKD's heads are 32 channels wide, as in its config. Top-1 in per cent at the end.
One teacher for all, trained with all labels for 10 epochs.""",
    tables=[five(), table(2), table(20), table(None), levers(), short()],
    seeds=(0, 1, 2),
)
