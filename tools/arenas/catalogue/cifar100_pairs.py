"""CIFAR-100, short, with the other two pairs that everybody compares; with all labels and with a tenth of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from arena import Arena, Row, Table
from cifar import few_labels_table, length, maker, options, unlabelled
from methods import BFLOAT16, NARROW, WITH_ALL_LABELS, rows

DATA = Path('data/cifar100_20-classes_16px.npz')
LONGER = {**length(200), 'train_cfg.val_interval': 50, 'default_hooks.checkpoint.interval': 50}  # of 1,000 images


def tables(pair: str, epochs: int, options: Mapping[str, object]) -> list[Table]:
    """A pair with all labels, and in bfloat16 with 50 labels of each class.

    Args:
        pair: The teacher and the student.
        epochs: Of the teacher.
        options: Of all configs with all labels.
    """
    taught, learning = pair.split('_')
    config = f'baselines/{taught}_cifar100'
    title = f'Teacher, all labels, {epochs} epochs'
    teacher = Row(f'{pair}_teacher', title, config, {**options, **length(epochs)}, (0,), teacher=None)
    alone = Row(f'{pair}_alone', 'Student alone', f'baselines/{learning}_cifar100', options, teacher=None)
    longer = replace(alone, key=f'{pair}_alone36', title='Student alone, 36 epochs', options={**options, **length(36)})
    methods = rows(f'kd/kd_{pair}_cifar100', WITH_ALL_LABELS, options, NARROW, f'{pair}_{{}}', teacher=teacher.key)
    heading = f'{taught} teaches {learning}'
    return [
        Table(f'{heading}, in bfloat16' if options else heading, [teacher, alone, longer, *methods], alone.key),
        few_labels_table(
            pair,
            teacher,
            unlabelled(16, DATA),
            f'{pair}_{{}}50',
            heading=f'{heading}, 50 labels a class, the other images without, in bfloat16',
            longer={**LONGER, **BFLOAT16},
            changes=NARROW,
        ),
    ]


ARENA = Arena(
    title='CIFAR-100 short: the other pairs',
    text="""Images and protocol as in `cifar100_short`: 20 classes, 16x16 pixels. Every student has 20 epochs, or
about as many iterations with 50 labels a class, and every teacher has 40 epochs. Where a heading says so, the students
and their teacher learned in bfloat16 ([mixed precision](tools.md#mixed-precision)). Top-1 in per cent at the end. Such
a run is too short for a student alone to converge: it says how the methods compare.

Trained before, with 20 epochs for the teacher resnet32x4 (seed 0, the rest as below, commit 861c26d): teacher 65.95,
SSKD from it 66.95. A large teacher that learned too briefly is behind the student alone.""",
    options=options(20, 16, 20, DATA),
    prepare=maker(DATA, 16, 20),
    tables=[*tables('wrn40-2_wrn16-2', 40, {}), *tables('resnet32x4_resnet8x4', 40, BFLOAT16)],
)
