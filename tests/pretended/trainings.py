"""Trainings on the pretended GPU whose iterations are counted."""

import copy
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.cli.flags import apply_training
from tests.distillers.test_unlabelled_losses import UNLABELLED
from tests.pretended.counting import Counted, CountPhases
from tests.pretended.identities import identities
from tests.pretended.machine import pretend_cuda
from tests.pretended.terms import TERMS

SGD = dict(type='SGD', lr=0.05, momentum=0.9)
HEADS = dict(type='mmkd.AuxiliaryHead', width=8)
KD = dict(type='mmkd.KD')
MHKD = dict(type='mmkd.MHKD', heads=HEADS)
HEADS_FIRST = dict(stages=['teacher_heads', 'all'], lengths=[1, 1])
CLIPPED = dict(type='OptimWrapper', optimizer=SGD, clip_grad=dict(max_norm=1))


def short(changes: dict) -> dict:
    """Changes with which a case's phases last as long as it says, or for two epochs of three iterations."""
    epochs = sum((changes.get('hook') or {}).get('lengths') or [2])
    images = {} if any('train_dataloader' in key for key in changes) else {'train_dataloader.dataset.indices': 48}
    return {
        **images,
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'default_hooks.checkpoint': None,
        'default_hooks.logger': dict(type='LoggerHook', interval=100),
    }


def by_flag(dtype: str, **settings: float) -> dict:
    """The optimizer wrapper of ``--amp-dtype`` on a GPU."""
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(SGD, **settings))))
    with patch('mmkd.cli.mixed_precision.get_device', lambda: 'cuda'):
        apply_training(cfg, Namespace(no_validate=False, amp=False, amp_dtype=dtype, auto_scale_lr=False, resume=None))
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
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


def verified(hook: dict | None = None, **model) -> Callable[[dict, Path], dict]:
    """A network that puts out embeddings; pairs of people whom it never saw are compared during validation."""

    def changes(teacher: dict, folder: Path) -> dict:
        found = identities(folder)
        return dict(found, hook=hook, model={**model, **found['model']})

    return changes


CASES: dict[str, dict | Callable[[dict, Path], dict]] = {
    'SSKD': dict(hook=dict(lengths=[1, 1, 1, 1, 2])),
    'KD': dict(model=KD),
    'MHKD': dict(model=MHKD, hook=HEADS_FIRST),
    'FeatureKD': dict(model=dict(type='mmkd.FeatureKD')),
    'KD, the teacher normalises otherwise': normalised_otherwise,
    'KD, images on the device': on_the_device,
    'KD, clipped gradients': dict(model=KD, optim_wrapper=CLIPPED),
    'KD, --amp-dtype bfloat16': dict(model=KD, optim_wrapper=by_flag('bfloat16')),
    'MHKD, --amp-dtype bfloat16': dict(model=MHKD, hook=HEADS_FIRST, optim_wrapper=by_flag('bfloat16')),
    'SSKD, --amp-dtype float16': dict(hook=dict(lengths=[1] * 5), optim_wrapper=by_flag('float16')),
    'KD, --amp-dtype float16, clipped gradients': dict(
        model=KD, optim_wrapper=dict(by_flag('float16'), clip_grad=dict(max_norm=1))
    ),
    'MHKD, --amp-dtype float16': dict(model=MHKD, hook=HEADS_FIRST, optim_wrapper=by_flag('float16')),
    'SSKD, frozen_dtype': dict(
        model=dict(frozen_dtype='bfloat16'), hook=dict(stages=['layer1', 'layer4', 'head'], lengths=[1, 1, 4])
    ),
    'SSKD, channels_last': dict(model=dict(channels_last=True), hook=dict(stages=['layer4', 'head'], lengths=[2, 4])),
    'SSKD, kept features': {
        'hook': dict(stages=['layer4', 'head'], lengths=[2, 4]),
        'default_hooks.cache': dict(type='mmkd.FeatureCacheHook', views=2),
    },
    'SimKD': dict(model=dict(type='mmkd.SimKD'), hook=dict(stages=None, lengths=None)),
    'FeatureKD, CRD': dict(model=dict(type='mmkd.FeatureKD', weight=0.0, terms=dict(hint=TERMS['crd']))),
    'FeatureKD, every loss': dict(model=dict(type='mmkd.FeatureKD', weight=0.0, terms=TERMS)),
    'SSKD, averaged weights': dict(
        hook=dict(stages=['layer1', 'layer4', 'head'], lengths=[1, 1, 4]), custom_hooks=[dict(type='EMAHook')]
    ),
    'SSKD, images without labels': dict(
        model=dict(alpha=0.3), hook=dict(stages=['layer4', 'head'], lengths=[1, 1]), unlabelled_dataloader=UNLABELLED
    ),
    'SSKD, best state kept, features watched': dict(
        hook=dict(stages=['layer4', 'head'], lengths=[1, 1], keep_best=True),
        custom_hooks=[dict(type='mmkd.SimilarityHook', images=20), dict(type='mmkd.FeatureMapsHook', images=2)],
    ),
    'SSKD, verification': verified(dict(stages=['layer1', 'bn2', 'head'], lengths=[1, 1, 1])),
    'KD, verification': verified(type='mmkd.KD'),
    'MHKD, verification': verified(HEADS_FIRST, **MHKD),
    'FeatureKD, verification': verified(type='mmkd.FeatureKD'),
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
