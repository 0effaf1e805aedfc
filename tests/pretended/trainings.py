"""Trainings on the pretended GPU whose iterations are counted."""

import copy
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.cli.flags import apply_training
from tests.pretended.counting import Counted, CountPhases
from tests.pretended.machine import pretend_cuda

SHORT = {
    'train_dataloader.dataset.indices': 48,  # 3 iterations per epoch
    'train_cfg.max_epochs': 6,
    'train_cfg.val_interval': 6,
    'default_hooks.checkpoint': None,
    'default_hooks.logger': dict(type='LoggerHook', interval=100),
}
SGD = dict(type='SGD', lr=0.05, momentum=0.9)
HEADS = dict(type='mmkd.AuxiliaryHead', width=8)
KD = dict(type='mmkd.KD')
CRD = dict(loss=dict(type='mmkd.CRDLoss', negatives=8), places=['embedding'])
CLIPPED = dict(type='OptimWrapper', optimizer=SGD, clip_grad=dict(max_norm=1))


def by_flag(dtype: str) -> dict:
    """The optimizer wrapper of ``--amp-dtype``."""
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=SGD)))
    apply_training(cfg, Namespace(no_validate=False, amp=False, amp_dtype=dtype, auto_scale_lr=False, resume=None))
    return cfg.optim_wrapper.to_dict()


def normalised_otherwise(teacher: dict, folder: Path) -> dict:
    """KD with a teacher whose config subtracts another mean."""
    other = copy.deepcopy(teacher)
    other['config']['data_preprocessor']['mean'] = [100.0] * 3
    return dict(model=dict(KD, teacher=other))


def on_the_device(teacher: dict, folder: Path) -> dict:
    """KD with images that stay on the GPU."""
    draw = np.random.default_rng(0)
    images = {f'{split}_x': draw.integers(256, size=(48, 16, 16, 1), dtype=np.uint8) for split in ('train', 'test')}
    np.savez(folder / 'images.npz', **images, train_y=np.arange(48) % 10, test_y=np.arange(48) % 10)

    def loader(split: str) -> dict:
        pipeline = [dict(type='RandomCrop', crop_size=16, padding=2), dict(type='PackInputs')]
        return dict(
            batch_size=16,
            num_workers=0,
            pin_memory=False,
            persistent_workers=False,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(
                type='mmkd.ResidentArrayDataset', ann_file=str(folder / 'images.npz'), split=split, pipeline=pipeline
            ),
        )

    return dict(model=KD, train_dataloader=loader('train'), val_dataloader=loader('test'))


CASES: dict[str, dict | Callable[[dict, Path], dict]] = {
    'SSKD': dict(hook=dict(lengths=[1, 1, 1, 1, 2])),
    'KD': dict(model=KD),
    'MHKD': dict(model=dict(type='mmkd.MHKD', heads=HEADS), hook=dict(stages=['teacher_heads', 'all'])),
    'FeatureKD': dict(model=dict(type='mmkd.FeatureKD')),
    'KD, the teacher normalises otherwise': normalised_otherwise,
    'KD, images on the device': on_the_device,
    'KD, clipped gradients': dict(model=KD, optim_wrapper=CLIPPED),
    'KD, --amp-dtype bfloat16': dict(model=KD, optim_wrapper=by_flag('bfloat16')),
    'SSKD, frozen_dtype': dict(
        model=dict(frozen_dtype='bfloat16'), hook=dict(stages=['layer1', 'layer4', 'head'], lengths=[1, 1, 4])
    ),
    'SSKD, channels_last': dict(model=dict(channels_last=True), hook=dict(stages=['layer4', 'head'], lengths=[2, 4])),
    'SSKD, kept features': {
        'hook': dict(stages=['layer4', 'head'], lengths=[2, 4]),
        'default_hooks.cache': dict(type='mmkd.FeatureCacheHook', views=2),
    },
    'SimKD': dict(model=dict(type='mmkd.SimKD'), hook=dict(stages=None, lengths=None)),
    'FeatureKD, CRD': dict(model=dict(type='mmkd.FeatureKD', weight=0.0, terms=dict(hint=CRD))),
    'SSKD, averaged weights': dict(
        hook=dict(stages=['layer1', 'layer4', 'head'], lengths=[1, 1, 4]), custom_hooks=[dict(type='EMAHook')]
    ),
}


def count_phases(make_runner: Callable[..., Runner], **changes) -> dict[str, Counted]:
    """Train to the end on the pretended GPU, and return the counts of each phase."""
    with pretend_cuda() as gpu:
        runner = make_runner(**changes)
        networks = runner.model, runner.model.teacher.network
        assert {p.device.type for network in networks for p in network.parameters()} == {'cuda'}
        counting = CountPhases(gpu)
        runner.register_hook(counting)
        runner.train()
    return counting.phases
