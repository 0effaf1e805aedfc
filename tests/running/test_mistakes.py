"""The commonest mistakes of a first config, each with the sentence that cures it, and whether it comes before all else."""

import copy
from argparse import Namespace
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.errors import UserError
from mmkd.running import checks, data_checks, flags
from mmkd.running.explain import explained
from mmkd.running.safety import add_safety_hooks, explain_dead_workers
from tests.distil import own_config

NUMBERS = count()
BEFORE, AFTER = True, False  # anything is built or written


class Enough(Exception):
    """The run works."""


class Stop(Hook):
    """Leaves a run after so many iterations."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= 2:
            raise Enough


def start(cfg: dict, folder: Path) -> None:
    """What tools/train.py does."""
    cfg = Config(copy.deepcopy(cfg))
    flags.apply_common(cfg, Namespace(cfg_options=None, launcher='none', work_dir=str(folder)))
    checks.check_keys(cfg, checks.TRAINING_KEYS, 'training')
    checks.check_training(cfg)
    add_safety_hooks(cfg)
    cfg.experiment_name = f'{folder.name}_{next(NUMBERS)}'
    with explained(cfg), explain_dead_workers():
        runner = Runner.from_cfg(cfg)
        data_checks.check_images(runner)
        runner.register_hook(Stop())
        runner.train()


@pytest.fixture
def config(plain, teacher, tmp_path, monkeypatch) -> dict:
    """A right one, and beside it the files that mistakes name: paths count from here."""
    monkeypatch.chdir(tmp_path)
    cfg = copy.deepcopy(plain)
    cfg.model = dict(type='mmkd.SSKD', student=cfg.model, teacher=copy.deepcopy(teacher))
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook')
    return cfg.to_dict()


def at(place: str, value: object) -> Callable[[dict], None]:
    """Set what is at a place of the config."""

    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg[last] = value

    return change


def renamed(place: str, name: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg[name] = cfg.pop(last)

    return change


def left_out(place: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split('.')
        for key in path:
            cfg = cfg[key]
        cfg.pop(last)

    return change


def no_delete(cfg: dict) -> None:
    """What mmengine makes of a config without _delete_."""
    cfg['model'] = {**copy.deepcopy(cfg['model']['student']), **cfg['model']}


MISTAKES = {
    'no _delete_': (
        no_delete,
        BEFORE,
        'model: it mixes backbone, head, neck of the inherited model with what SSKD takes; write model = '
        "dict(_delete_=True, type='mmkd.SSKD', student=..., teacher=...).",
    ),
    'SKKD': (at('model.type', 'mmkd.SKKD'), BEFORE, 'model.type: mmkd has no SKKD. Did you mean mmkd.SSKD'),
    'sskd': (at('model.type', 'mmkd.sskd'), BEFORE, 'model.type: mmkd has no sskd. Did you mean mmkd.SSKD'),
    'no scope': (at('model.type', 'SSKD'), AFTER, "model.type: it is mmkd's own; write type='mmkd.SSKD'."),
    'no type': (left_out('model.type'), AFTER, 'model: it has no type; name the class that it is made of.'),
    'techer': (renamed('model.teacher', 'techer'), BEFORE, 'model.techer: SSKD takes no techer. Did you mean teacher?'),
    'no teacher': (
        left_out('model.teacher'),
        BEFORE,
        'model: it lacks teacher; write student={{_base_.model}}, the config of the model to train, and '
        'teacher=dict(config=..., checkpoint=...).',
    ),
    'fraction': (
        at('default_hooks.stages.fraction', [0.5, 0.5]),
        BEFORE,
        'default_hooks.stages.fraction: StageScheduleHook takes no fraction. Did you mean fractions?',
    ),
    'nothing near': (at('default_hooks.stages.zzz', 1), BEFORE, ' takes no zzz. It takes fractions, keep_best, lengths'),
    'kind alone': (
        at('model.mimic_loss', dict(kind='l1')),
        BEFORE,
        "model.mimic_loss: it has no type; add type='mmkd.FeatureMimicLoss'.",
    ),
    'kind alone of a stage': (
        at('model.stage_losses', dict(layer1=dict(loss_weight=2.0))),
        BEFORE,
        "model.stage_losses.layer1: it has no type; add type='mmkd.ClassScoreLoss' or type='mmkd.FeatureMimicLoss' or "
        "type='mmkd.SoftTargetLoss'.",
    ),
    'loss misspelled': (
        at('model.mimic_loss', dict(type='mmkd.FeatureMimic')),
        BEFORE,
        'model.mimic_loss.type: mmkd has no FeatureMimic. Did you mean mmkd.FeatureMimicLoss',
    ),
    "a toolbox's class misspelled": (
        at('model.student.backbone.type', 'ResNet_CIFR'),
        AFTER,
        'model.student.backbone.type: mmpretrain has no ResNet_CIFR. Did you mean ResNet_CIFAR',
    ),
    "a toolbox's class that nothing is like": (
        at('model.student.backbone.type', 'QQQQQQQQ'),
        AFTER,
        'mmpretrain has no QQQQQQQQ. If it is your own, import its module: custom_imports = dict(imports=[...]).',
    ),
    "a toolbox's argument misspelled": (
        at('model.student.backbone.stem_chanels', 8),
        AFTER,
        'model.student.backbone.stem_chanels: ResNet_CIFAR takes no stem_chanels. Did you mean stem_channels',
    ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_the_commonest_mistakes(config, tmp_path, name):
    change, before, sentence = MISTAKES[name]
    change(config)
    with pytest.raises(UserError) as caught:
        start(config, tmp_path / 'run')
    said = str(caught.value)
    assert sentence in said
    assert '\n' not in said
    assert (tmp_path / 'run').exists() is not before


def test_without_a_mistake_it_runs(config, tmp_path):
    with pytest.raises(Enough):
        start(config, tmp_path / 'run')
