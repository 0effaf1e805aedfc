"""Two iterations of each Tiny ImageNet config, on a folder made like the archive."""

import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.datasets.tiny_imagenet import NAMES, write_folder

CONFIGS = sorted((ROOT / 'configs').glob('*/*_tiny-imagenet.py'))
THIN = {'stem_channels': 4, 'base_channels': 4}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp('data') / 'tiny'))


def small(cfg, root: str) -> None:
    """A thin network for the folder's classes."""
    model = cfg.model.get('student', cfg.model)
    model.backbone.update(THIN)
    model.head.update(in_channels=32, num_classes=len(NAMES), topk=(1,))
    cfg.data_preprocessor.num_classes = len(NAMES)
    for name in ('train', 'val'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = root


def test_there_are_configs():
    assert [path.parent.name for path in CONFIGS] == ['baselines', 'baselines', 'kd', 'mhkd', 'sskd']


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_two_iterations(path, root, tmp_path):
    pytest.importorskip('mmpretrain')
    cfg = load_config(str(path))
    init_default_scope('mmpretrain')
    small(cfg, root)
    if 'teacher' in cfg.model:
        teacher = load_config(cfg.model.teacher.config)
        small(teacher, root)
        config = dict(model=teacher.model.to_dict(), data_preprocessor=teacher.data_preprocessor.to_dict())
        cfg.model.teacher = dict(config=config, checkpoint=None)
        lengths = dict(lengths=[1, 1], stages=['layer1', 'all']) if path.parent.name == 'sskd' else {}
        cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', score_teacher=False, **lengths)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir, cfg.experiment_name = str(tmp_path), f'{path.stem}_{tmp_path.name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() in (0, 25, 50, 75, 100)


def test_without_the_folder_one_sentence_says_how_to_get_it(run_tool, tmp_path, monkeypatch):
    pytest.importorskip('mmpretrain')
    monkeypatch.chdir(tmp_path)
    said = run_tool('train.py', CONFIGS[0])
    assert 'folder data/tiny-imagenet-200 does not exist; unpack http' in said
    assert len(said.strip().splitlines()) == 1
