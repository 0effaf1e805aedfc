"""Verification of things: classes of CIFAR-100 as people, of whom a fifth is never seen."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from arena import Table
from files import write_whole
from methods import WITH_ALL_LABELS, rows
from verification import alone, arena, teacher

DATA = Path('data/cifar100_identities')
PHOTOS = 100  # of each person, of 500
TEACHER, STUDENT = (f'{name}_cifar100-identities' for name in ('iresnet34-w16', 'iresnet18-w8'))
LEARNS = {
    'train_dataloader.dataset.ann_file': f'train_{PHOTOS}.txt',
    'train_cfg.max_epochs': 20,
    'train_cfg.val_interval': 10,
}
LEARNED = replace(teacher(TEACHER), options={'train_cfg.max_epochs': 8, 'train_cfg.val_interval': 4})
ALONE = replace(alone(STUDENT), options=LEARNS)
LONGER = replace(
    alone(STUDENT, 'alone40'),
    title='Student alone, 40 epochs',
    options={**LEARNS, 'train_cfg.max_epochs': 40},
    seeds=(0, 1),
)
COMPARED = rows(f'sskd/sskd_iresnet34-w16_{STUDENT}', (*WITH_ALL_LABELS, 'mhkd-wide'), LEARNS)
_ARENA = arena(
    title="CIFAR-100's classes as people: verification",
    text=f"""80 classes to learn from, and the 2,000 test images of 20 other classes to verify, 32x32 pixels: 3,000
pairs of one class and 3,000 of two, in ten folds of classes of their own. ArcFace's head without a margin (with one
neither network learned); the embeddings of an image and its mirror image are summed. The teacher, iResNet-34, 16
channels wide, learns 8 epochs from all 500 images a class; the students, iResNet-18, 8 channels wide, 20 epochs from
{PHOTOS} a class. Accuracy in per cent at the end. It is a stand-in for faces, larger than the Olivetti faces.""",
    data=DATA,
    tables=[Table('', [LEARNED, ALONE, LONGER, *COMPARED])],
    seeds=(0, 1, 2),
)


def prepare() -> None:
    """Say how to get the images; list the first of each person."""
    _ARENA.prepare()
    people = defaultdict(list)
    for line in (DATA / 'train.txt').read_text().splitlines(keepends=True):
        people[line.split()[-1]].append(line)
    few = ''.join(line for lines in people.values() for line in lines[:PHOTOS])
    write_whole(DATA / f'train_{PHOTOS}.txt', few)  # another training may be reading it


ARENA = replace(_ARENA, prepare=prepare)
