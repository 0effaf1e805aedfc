"""CIFAR-100, short, with the other two pairs that everybody compares; with all labels and with a tenth of them."""

from pathlib import Path

from arena import Arena, Row, Table
from cifar import few_labels_table, length, maker, options, unlabelled
from methods import NARROW, rows

DATA = Path('data/cifar100_20-classes_16px.npz')
METHODS = 'kd', 'mhkd', 'featurekd', 'sskd', 'paper'
LONGER = {**length(200), 'train_cfg.val_interval': 50, 'default_hooks.checkpoint.interval': 50}  # of 1,000 images


def tables(pair: str) -> list[Table]:
    """A pair with all labels, and with 50 of each class."""
    taught, learning = pair.split('_')
    teacher = Row(
        f'{pair}_teacher', 'Teacher, all labels, 40 epochs', f'baselines/{taught}_cifar100', length(40), (0,), None
    )
    alone = Row(f'{pair}_alone', 'Student alone', f'baselines/{learning}_cifar100', teacher=None)
    longer = Row(f'{pair}_alone36', 'Student alone, 36 epochs', alone.config, length(36), (0,), None)
    methods = rows(f'kd/kd_{pair}_cifar100', METHODS, None, NARROW, f'{pair}_{{}}', teacher=teacher.key)
    heading = f'{taught} teaches {learning}'
    return [
        Table(heading, [teacher, alone, longer, *methods], alone.key),
        few_labels_table(
            pair,
            teacher,
            unlabelled(16, DATA),
            f'{pair}_{{}}50',
            f'{heading}, 50 labels a class, the other images without',
            LONGER,
            NARROW,
        ),
    ]


ARENA = Arena(
    title='CIFAR-100 short: the other pairs',
    text="""Images and protocol as in `cifar100_short`: 20 classes, 16x16 pixels, 20 epochs for every student and 40
for the teacher; with 50 labels a class about as many iterations. Top-1 in per cent at the end. Such a run is too short
for a student alone to converge: it says how the methods compare.""",
    options=options(20, 16, 20, DATA),
    prepare=maker(DATA, 16, 20),
    tables=[*tables('wrn40-2_wrn16-2'), *tables('resnet32x4_resnet8x4')],
)
