"""Verification of faces: people never seen, after learning from few photos of thirty others."""

from pathlib import Path

from arena import Row, Table
from methods import WITH_FEW_LABELS, rows
from verification import alone, arena, teacher

TEACHER = teacher('iresnet18-w8_olivetti')
LARGER = Row('larger', 'iResNet-34, 16 channels wide', 'baselines/iresnet34-w16_olivetti', seeds=(0,), teacher=None)
LONGER = Row(
    'alone2-40',
    'Student alone, 40 epochs',
    'baselines/iresnet18-w4_olivetti-2-photos',
    {'train_cfg.max_epochs': 40},
    (0, 1, 2),
    None,
)
FEW = rows(
    'kd/kd_iresnet18-w8_iresnet18-w4_olivetti-2-photos',
    (*WITH_FEW_LABELS[:-1], 'mhkd-wide', 'paper'),
    {'unlabelled_dataloader.num_workers': 0},
    name='{}2',
)

ARENA = arena(
    title='Olivetti faces: verification',
    text="""The Olivetti faces (credit: AT&T Laboratories Cambridge): 300 grey photos of 30 people to learn from, 100
of 10 others to verify, 64x64 pixels: 450 pairs of one person and 450 of two, in ten folds of which each is a person.
iResNet-18, 8 channels wide, teaches iResNet-18, 4 channels wide, by ArcFace; the embeddings of an image and its mirror
image are summed. Ten photos are enough for the small network: a larger one is hardly ahead of it (the last table). So
the teacher has learned from all photos, and the student has labels of two of each person; the methods learn from the
other eight, without labels, as well. 40 epochs with all photos, 20 with two of each person (200 iterations of 30
images). Accuracy in per cent at the end. It is a small stand-in: it says whether a method helps on people never seen,
not what it reaches on faces. A pair is 0.1 points, a person ten.""",
    data=Path('data/olivetti'),
    tables=[
        Table(
            'Two labelled photos a person',
            [TEACHER, alone('iresnet18-w4_olivetti-2-photos', 'alone2'), LONGER, *FEW],
            'alone2',
        ),
        Table('All ten photos', [TEACHER, LARGER, alone('iresnet18-w4_olivetti')]),
    ],
    seeds=(0, 1, 2, 3, 4),
)
