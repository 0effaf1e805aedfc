"""A tiny arena as a trial: a teacher and a student of handwritten digits, one epoch each on a few images."""

import shutil
from pathlib import Path

from arena import WORK_DIR, Arena, Row, Table


def prepare() -> None:
    """Forget an earlier trial: with its checkpoints this one would train nothing."""
    shutil.rmtree(WORK_DIR / Path(__file__).stem, ignore_errors=True)


ARENA = Arena(
    prepare=prepare,
    title='Trial',
    text='',
    options={
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.indices': 64,
        'val_dataloader.dataset.indices': 32,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': 1,
    },
    tables=[
        Table(
            '',
            [
                Row('teacher', 'Teacher', 'baselines/resnet18-w32_digits', seeds=(0,), teacher=None),
                Row('kd', 'KD', 'kd/kd_resnet18-w32_resnet18-w16_digits', seeds=(1,)),
            ],
        )
    ],
)
