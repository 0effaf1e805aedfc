"""Measures how many CIFAR-size images per second a data loader yields in one process."""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from benchmark_page import Results
from measuring import alternate
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader

IMAGES, BATCH = 2048, 64
STEPS = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]


def measure(rounds: int) -> list[dict]:
    """Seconds of an epoch with :class:`mmkd.ArrayDataset`, image by image, and with the one that augments batches."""
    with tempfile.TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope('mmpretrain'):
        file = Path(folder) / 'images.npz'
        draw = np.random.default_rng(0)
        images = draw.integers(256, size=(IMAGES, 32, 32, 3), dtype=np.uint8)
        np.savez(file, train_x=images, train_y=draw.integers(100, size=IMAGES))
        epochs = {}
        for kind in ('ArrayDataset', 'ResidentArrayDataset'):
            dataset = DATASETS.build(dict(type=f'mmkd.{kind}', ann_file=str(file), split='train', pipeline=STEPS))
            loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, collate_fn=list)
            epochs[kind] = lambda loader=loader: [None for _ in loader]
        return [dict(dataset=kind, seconds=seconds) for kind, seconds in alternate(epochs, rounds).items()]


def table(results: Results) -> list[str]:
    """The rate of each data set."""
    rates = [f'| `mmkd.{row["dataset"]}` | {IMAGES / median(row["seconds"]):,.0f} |' for row in results['loading']]
    return ['| | Images a second |', '|---|---|', *rates]
