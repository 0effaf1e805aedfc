"""A small student and teacher on the digits, trained for real in this process."""

import copy
from functools import reduce
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT

HEADS = dict(type='mmkd.AuxiliaryHead', width=8)  # by default 256: far more than these networks
KD = """
_base_ = 'student.py'
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(config='TEACHER', checkpoint='teacher.pth'))
"""  # a config beside those of its student and of TEACHER
FROZEN = dict(type='mmkd.StageScheduleHook', unfreeze_last=False)  # as in the paper: most tests are about frozen parts


@pytest.fixture(scope='session')
def plain() -> Config:
    """The student's own config, made small: 8 channels, 8 epochs of 4 iterations, a fixed seed."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('sklearn')
    cfg = load_config(str(ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'))
    cfg.merge_from_dict(
        {
            'model.backbone.stem_channels': 8,
            'model.backbone.base_channels': 8,
            'model.head.in_channels': 64,
            'train_dataloader.dataset.indices': 64,
            'train_dataloader.batch_size': 16,
            'train_cfg.max_epochs': 8,
            'val_dataloader.dataset.indices': 40,
            'default_hooks.logger.interval': 1,
        }
    )
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(collate_fn=dict(type='default_collate'), persistent_workers=False)
    return cfg


@pytest.fixture(scope='session')
def teacher(plain, tmp_path_factory) -> dict:
    """A teacher with other widths and random weights in a file."""
    from mmpretrain import get_model

    cfg = copy.deepcopy(plain)
    cfg.model.backbone.update(stem_channels=12, base_channels=12)
    cfg.model.head.in_channels = 96
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(state_dict=get_model(copy.deepcopy(cfg), pretrained=False).state_dict()), path)
    return dict(config=own_config(cfg), checkpoint=str(path))


def distillation(
    plain: Config, teacher: dict, work_dir: Path, hook: dict | None = None, model: dict | None = None, **changes
) -> Config:
    """The config of a distillation; the method is SSKD unless the changes name another."""
    cfg = copy.deepcopy(plain)
    cfg.model = {**dict(type='mmkd.SSKD', student=cfg.model, teacher=teacher), **(model or {})}
    cfg.default_hooks.stages = {**FROZEN, **(hook or {})}
    return in_place(cfg, work_dir, **changes)


def without_chance(plain: Config) -> tuple[Config, dict]:
    """A student with 4 epochs, whose images do not depend on the process, and an untrained teacher of its kind."""
    network = copy.deepcopy(plain)
    network.train_dataloader.dataset.pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs')]
    network.train_cfg.max_epochs = 4
    network.val_cfg = network.val_dataloader = network.val_evaluator = None
    network.default_hooks.checkpoint = None
    return network, dict(config=own_config(plain), checkpoint=None)


def own_config(cfg: Config) -> dict:
    """The lines of a teacher's config that a distillation needs."""
    return dict(
        model=cfg.model.to_dict(), data_preprocessor=cfg.data_preprocessor.to_dict(), default_scope='mmpretrain'
    )


def in_place(cfg: Config, work_dir: Path, **changes) -> Config:
    """Give a config its own work dir and name; a dict among the changes replaces the old one."""
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.parent.name}_{work_dir.name}_{len(list(work_dir.parent.rglob("*")))}'
    for key, value in changes.items():
        *parents, last = key.split('.')
        reduce(getattr, parents, cfg)[last] = value
    return cfg


@pytest.fixture
def distil(plain, teacher, tmp_path):
    """Build the runner of a distillation."""

    def make(work_dir: str = 'run', hook: dict | None = None, model: dict | None = None, **changes) -> Runner:
        return Runner.from_cfg(distillation(plain, teacher, tmp_path / work_dir, hook, model, **changes))

    return make
