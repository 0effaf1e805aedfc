"""Two iterations of each classification method's config, at tiny size."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT

CONFIGS = [
    path
    for folder in ('kd', 'feature_kd')
    for path in sorted((ROOT / 'configs' / folder).glob('*_resnet32x4_resnet8x4_cifar100.py'))
]
WIDTHS = (4, 4, 8, 12)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('data') / 'images.npz'
    parts = ('train', 'test')
    np.savez(
        path,
        **{f'{part}_x': rng.integers(0, 255, (24, 32, 32, 3), dtype=np.uint8) for part in parts},
        **{f'{part}_y': np.arange(24) % 10 for part in parts},
    )
    return str(path)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem.partition('_')[0])
def test_two_iterations(path, images, tmp_path):
    pytest.importorskip('mmpretrain')
    cfg = load_config(str(path))
    init_default_scope('mmpretrain')
    teacher = load_config(cfg.model.teacher.config)
    for model in (cfg.model.student, teacher.model):
        model.backbone.widths = WIDTHS
        model.head.in_channels, model.head.topk = WIDTHS[-1], (1,)
    preprocessor = teacher.data_preprocessor.to_dict()
    config = dict(model=teacher.model.to_dict(), data_preprocessor=preprocessor, default_scope='mmpretrain')
    cfg.model.teacher = dict(config=config, checkpoint=None)
    terms = cfg.model.get('terms', {})
    if 'crd' in terms:
        terms.crd.loss.negatives = 16
    cfg.train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.ann_file = images
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = cfg.test_cfg = None
    cfg.test_dataloader = cfg.test_evaluator = cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    phases = dict(stages=cfg.default_hooks.stages.stages, lengths=[1, 1]) if 'stages' in cfg.default_hooks else {}
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', score_teacher=False, **phases)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), f'{path.stem}_{tmp_path.name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    for name, term in terms.items():
        if 'warm_up' not in term:
            assert any(key.startswith(f'train/loss_term_{name}') for key in runner.message_hub.log_scalars)
    assert not any('term_' in key for key in runner.model.state_dict())
    if '-first' in path.stem:  # features alone in the first iteration, labels in the second
        of_labels = [key for key in runner.message_hub.log_scalars if 'loss_own' in key]
        assert [len(runner.message_hub.log_scalars[key].data[0]) for key in of_labels] == [1]
