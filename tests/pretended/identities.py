"""Embeddings: students that learn some people and are verified on others."""

from pathlib import Path

from tests.datasets.faces import SIDE, write_lfw, write_records

PEOPLE = 3
PREPROCESSOR = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
PACK = dict(type='PackInputs')


def recognizer(features: int, widths: tuple[int, ...]) -> dict:
    """An iResNet with ArcFace's head, as in the configs for CIFAR-100's identities and Olivetti."""
    return dict(
        type='mmkd.FaceRecognizer',
        flip=True,
        backbone=dict(type='mmkd.IResNet', depth=18, num_features=features, widths=widths, image_size=SIDE),
        head=dict(type='ArcFaceClsHead', num_classes=PEOPLE, in_channels=features, scale=16.0, margins=0.3),
    )


def identities(folder: Path) -> dict:
    """What a config of distillation changes: 48 photos to learn from, pairs of others' photos to verify."""
    student, teacher = recognizer(8, (4, 4, 6, 8, 10)), recognizer(12, (6, 6, 8, 10, 12))
    write_records(folder / 'train.rec', [place % PEOPLE for place in range(48)], cut=False)
    write_lfw(folder)
    pairs = dict(type='mmkd.FacePairs', data_root=str(folder), ann_file='pairs.txt', data_prefix='images', rates=(0.1,))
    config = dict(model=teacher, data_preprocessor=PREPROCESSOR, default_scope='mmpretrain')
    return {
        'model': dict(student=student, teacher=dict(config=config, checkpoint=None)),
        'data_preprocessor': PREPROCESSOR,
        'train_dataloader.dataset': dict(type='mmkd.FaceRecords', ann_file=str(folder / 'train.rec'), pipeline=[PACK]),
        'val_dataloader.dataset': dict(pairs, pipeline=[dict(type='LoadImageFromFile'), PACK]),
        'val_evaluator': dict(type='mmkd.FaceMetric'),
    }
