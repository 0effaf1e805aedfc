"""A teacher and a student of handwritten digits, an epoch each on a few images: the grid's own trial."""

FEW = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.indices': 64,
    'val_dataloader.dataset.indices': 32,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 1,
}
JOBS = [
    dict(name='teacher', config='configs/baselines/resnet18-w32_digits.py', options=FEW, keep=True),
    dict(
        name='kd',
        config='configs/kd/kd_resnet18-w32_resnet18-w16_digits.py',
        teacher='teacher',
        seed=1,
        options=FEW,
    ),
]
