"""CIFAR-100, short: every method and SSKD's levers in minutes on one core."""

from dataclasses import replace
from pathlib import Path

from arena import Arena, Row, Table
from cifar import few_labels_table, length, maker, options, unlabelled
from methods import METHODS, NARROW, STAGES, WITH_ALL_LABELS, WITH_FEW_LABELS, rows, terms_of

DATA = Path('data/cifar100_20-classes_16px.npz')
SSKD = 'sskd/sskd_resnet56_resnet20_cifar100'
ORDER = "['layer1','layer2','layer3'{}]"
TOGETHER = "[['layer1','layer2','layer3']{}]"
TEACHER = Row('teacher', 'Teacher, 40 epochs', 'baselines/resnet56_cifar100', length(40), (0,), None)
ALONE = Row('alone', 'Student alone', 'baselines/resnet20_cifar100', teacher=None)
LONGER_ALONE = Row('alone30', 'Student alone, 30 epochs', ALONE.config, length(30), teacher=None)


def lever(key: str, title: str, stages: str, lengths: str, seeds: tuple[int, ...] = (0, 1), **more: object) -> Row:
    """SSKD with other phases, and labels alone in the last one."""
    changes = {'model.weight': 0, f'{STAGES}.stages': stages, f'{STAGES}.lengths': lengths}
    return Row(key, title, SSKD, {**changes, **more}, seeds)


HEAD = {f'{STAGES}.stages': "['head']", 'model.head_from_teacher': False}
TEACHERS_OWN = {
    'student.backbone.depth': 56,
    'student.backbone.init_cfg.type': 'Pretrained',
    'student.backbone.init_cfg.prefix': 'backbone.',
    'student.backbone.init_cfg.checkpoint': '{teacher}',
}
CONTROLS = [
    Row('random', 'Control: a head learns on a random frozen backbone', SSKD, HEAD, (0,)),
    Row(
        'teachers', "Control: a head learns on the teacher's own frozen backbone", SSKD, {**HEAD, **TEACHERS_OWN}, (0,)
    ),
]
ONE_LOSS = {'model.mimic_loss.type': 'mmkd.FeatureMimicLoss'}
FINETUNED = ORDER.format(",'all'")
LEVERS = [
    lever(
        'frozen-inherited',
        "The paper's order, the head starts as the teacher's: 5 + 6 + 5 epochs, head 4",
        ORDER.format(",'head'"),
        '[5,6,5,4]',
    ),
    lever(
        'nolabels-var1',
        'No labels, loss in units of the variance, weight 1',
        ORDER.format(''),
        '[6,7,7]',
        **ONE_LOSS,
        **{'model.mimic_loss.scale': 'variance'},
    ),
    lever(
        'nolabels-var10',
        'The same with weight 10',
        ORDER.format(''),
        '[6,7,7]',
        **ONE_LOSS,
        **{'model.mimic_loss.scale': 'variance', 'model.mimic_loss.loss_weight': 10.0},
    ),
    lever('together-nolabels', 'No labels, stages together for 20', TOGETHER.format(''), '[20]'),
    lever(
        'finetuned',
        "Stages 3 + 4 + 3, the teacher's head, everything learns from labels alone for 10 (`weight=0`)",
        FINETUNED,
        '[3,4,3,10]',
    ),
    lever(
        'finetuned-lr0.01',
        'The same, a fifth of the rate in the last phase',
        FINETUNED,
        '[3,4,3,10]',
        **{f'{STAGES}.overrides.all.lr': 0.01},
    ),
    lever('finetuned-15-5', 'The same, stages 5 + 5 + 5, everything for 5', FINETUNED, '[5,5,5,5]'),
    lever(
        'together-finetuned',
        "Stages together for 10, the teacher's head, everything learns for 10",
        TOGETHER.format(",'all'"),
        '[10,10]',
    ),
    Row(
        'sskd-soft',
        'SSKD with soft targets',
        SSKD,
        {**METHODS['featurekd-soft'][1], f'{STAGES}.stages': FINETUNED},
    ),
    Row(
        'quarter',
        'SSKD, a quarter for the stages: 2 + 2 + 1 epochs, everything for 15',
        SSKD,
        {f'{STAGES}.lengths': '[2,2,1,15]'},
    ),
    *rows(SSKD, ['featurekd-soft', 'bfloat16']),
    Row('featurekd1', 'FeatureKD, weight 1', SSKD, {**METHODS['featurekd'][1], 'model.weight': 1.0}),
    Row('stages-featurekd', 'SSKD, weight 1', SSKD, {'model.weight': 1.0}, (0,)),
]
NO_LABELS = lever(
    'nolabels', "**No labels**: stages 6 + 7 + 7, then the teacher's head as it is", ORDER.format(''), '[6,7,7]'
)
MAIN = [
    TEACHER,
    ALONE,
    LONGER_ALONE,
    *rows(SSKD, WITH_ALL_LABELS, changes=NARROW),
    Row('sskd-mhkd', 'SSKD, then MHKD', 'mhkd/sskd-mhkd_resnet56_resnet20_cifar100', NARROW['mhkd']),
    NO_LABELS,
]
BLOCKS = {'places': '[{}]'.format(','.join(f"('layer{i}.2.bn2','layer{i}.8.bn2')" for i in (1, 2, 3)))}
OTHERS: dict[
    str, tuple[str, dict[str, object]]
] = {  # key, of the method's config as well: title, and what differs here
    'dkd': ('DKD', {'loss.beta': 2.0}),  # mdistiller's for this pair, as ReviewKD's is the authors'
    'dist': ('DIST', {}),
    'wsld': ('WSLD', {}),
    'fitnet': ('FitNet', {}),
    'at': ('AT', {}),
    'sp': ('SP', {}),
    'cc': ('CC', {}),
    'vid': ('VID', {}),
    'rkd': ('RKD', {}),
    'pkt': ('PKT', {}),
    'nst': ('NST', {}),
    'ab': ('AB', BLOCKS),
    'ab-first': ('AB as published: alone for a ninth, then labels alone', BLOCKS),
    'ofd': ('OFD', BLOCKS),
    'fsp': ('FSP without the stem', {'places': "['layer1','layer2','layer3']"}),
    'fsp-first': ('FSP as published: alone for a ninth, then labels alone', {}),
    'crd': ('CRD, 512 negatives', {'loss.negatives': 512}),  # of 9,500 images of other classes; for the time
    'review-kd': ('ReviewKD', {'loss.loss_weight': 0.6}),
    'srrl': ('SRRL', {}),
    'ickd': ('ICKD', {}),
    'mgd': ('MGD', {}),
}


def other(key: str) -> Row:
    """A method of others beside the labels, with its public weights."""
    title, changes = OTHERS[key]
    term = key.removesuffix('-first').replace('-', '_')
    options = terms_of(f'feature_kd/{key}_resnet32x4_resnet8x4_cifar100')
    return Row(key, title, SSKD, {**options, **{f'model.terms.{term}.{name}': one for name, one in changes.items()}})


DIST_1 = Row(
    'dist1',
    'DIST at a temperature of 1, as MMRazor has it',
    SSKD,
    {**other('dist').options, 'model.terms.dist.loss.tau': 1.0},
)
STANDARDISED = {
    'model.soft_loss.type': 'mmkd.SoftTargetLoss',
    'model.soft_loss.tau': 2.0,
    'model.soft_loss.standardise': True,
    'model.alpha': 9.0,
}
HINT_FIRST = {
    'model.pairs': "[('layer2','layer2'),('layer3','layer3')]",
    'model.stage_losses.layer2.type': 'mmkd.FitNetLoss',
    'model.weight': 0,
    f'{STAGES}.stages': "['layer2','all']",
    f'{STAGES}.lengths': '[5,15]',
}
EVERY = [
    TEACHER,
    ALONE,
    *rows(SSKD, ('kd', 'mhkd', 'featurekd', 'sskd'), changes=NARROW),
    Row('kd-standardised', 'KD, logit standardisation', SSKD, {**METHODS['kd'][1], **STANDARDISED}),
    *map(other, OTHERS),
    DIST_1,
    Row('simkd', 'SimKD without labels, linear projector', SSKD, {'model.type': 'mmkd.SimKD'}),
    Row('fitnet-first', 'FitNet in two phases: the hint for 5, labels alone for 15', SSKD, HINT_FIRST),
]
LONGER = {**length(200), 'train_cfg.val_interval': 50, 'default_hooks.checkpoint.interval': 50}  # of 1,000 images


def few_labels() -> Table:
    """A tenth of the labels, in as many iterations; beside it what needs none."""
    images = unlabelled(16, DATA)
    table = few_labels_table(
        'resnet56_resnet20', TEACHER, images, '{}50', longer=LONGER, changes=NARROW, keys=WITH_FEW_LABELS
    )
    return replace(table, rows=[*table.rows, NO_LABELS])


def twice_as_long() -> Table:
    """The student alone nearer to its end, and the methods in as many core-seconds."""
    alone = Row('alone60', 'Student alone, 60 epochs', ALONE.config, length(60), teacher=None)
    methods = rows(SSKD, ('kd', 'featurekd', 'sskd'), length(40), name='{}40')
    heading = '40 epochs; the student alone 60'
    return Table(heading, [TEACHER, alone, *methods], 'alone60')


ARENA = Arena(
    title='CIFAR-100 short: resnet56 teaches resnet20',
    text="""The first 20 classes of CIFAR-100 (10,000 training and 2,000 test images), each square of 2x2 pixels
averaged to one (16x16 pixels). 20 epochs for every student, whatever the method, and 40 for the teacher. **That is
too short for the student alone to converge: with 60 epochs it passes this teacher** (the table of 40 epochs).
So the tables of 20 epochs compare methods and say how fast a student starts, not what it gains in the end. Random
crop with a padding of 2, and flip. MHKD's heads are 32 channels wide, as by default. The rest is as in the usual
protocol (the arena `cifar100_common`), with the rate cut at the same parts of the run. Top-1 in per cent at the end. In
the table of every method a term beside the labels has its public weight ([all methods](methods.md)), which nobody has
fitted to these images or to so short a run. It says how the methods compare on a small task, not what
they reach elsewhere. FitNet's hint is learned through a convolution of its own, which R2 does not see.""",
    options=options(20, 16, 20, DATA),
    prepare=maker(DATA, 16, 20),
    tables=[
        Table('All labels (500 a class)', MAIN),
        twice_as_long(),
        few_labels(),
        Table('Every method, all labels', EVERY),
        Table('', [*MAIN, *CONTROLS, *LEVERS], page='levers'),
    ],
)
