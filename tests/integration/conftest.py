import os
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)
from tests.soak import Soak


@pytest.fixture(scope='session')
def soak():
    """Counts which faults were survived, and writes this into a page if one is named."""
    return Soak(os.environ.get('MMKD_SOAK'))


@pytest.fixture(scope='session')
def trained_teacher(tmp_path_factory) -> Path:
    """The checkpoint of the demo's teacher, trained for half as long."""
    folder = tmp_path_factory.mktemp('trained_teacher')
    cfg = load_config(str(ROOT / 'configs' / 'baselines' / 'resnet18-w32_digits.py'))
    cfg.update(work_dir=str(folder), experiment_name=folder.name, val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.train_cfg.max_epochs = 5
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=5)
    scopes = dict(DefaultScope._instance_dict)
    Runner.from_cfg(cfg).train()
    DefaultScope._instance_dict.clear()  # other tests shall not inherit this default scope
    DefaultScope._instance_dict.update(scopes)
    return folder / 'epoch_5.pth'
