"""Real trainings by the tools; stock code evaluates the saved file."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT

pytest.importorskip('sklearn')
BASELINES = ROOT / 'configs' / 'baselines'


def scalars(work_dir: Path) -> list[dict]:
    """Every line that the run logged."""
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.long  # `make demo` trains the same
def test_the_demo_classifier_learns_the_digits(run_tool, tmp_path):
    pytest.importorskip('mmpretrain')
    config = BASELINES / 'resnet18-w16_digits.py'
    assert run_tool('train.py', config, '--work-dir', tmp_path / 'run') is None
    losses = [line['loss'] for line in scalars(tmp_path / 'run') if 'loss' in line]
    assert losses[-1] < 0.2 * losses[0]

    cfg = load_config(str(config))
    cfg.update(work_dir=str(tmp_path / 'eval'), load_from=str(tmp_path / 'run' / 'epoch_10.pth'))
    assert Runner.from_cfg(cfg).test()['accuracy/top1'] > 94


def short_detection_run(digits_coco: Path, **changes) -> list[str]:
    data = {f'{part}_dataloader.dataset.data_root': f'{digits_coco}/' for part in ('train', 'val', 'test')}
    options = {
        **data,
        'val_evaluator.ann_file': digits_coco / 'val.json',
        'test_evaluator.ann_file': digits_coco / 'val.json',
        **changes,
    }
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def test_the_detector_starts_to_learn(run_tool, tmp_path, digits_coco):
    pytest.importorskip('mmdet')
    config = BASELINES / 'retinanet_r18-w16_digits-coco.py'
    options = short_detection_run(
        digits_coco, **{'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2, 'default_hooks.logger.interval': 19}
    )
    assert run_tool('train.py', config, '--work-dir', tmp_path, *options) is None
    lines = scalars(tmp_path)
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert losses[-1] < 0.8 * losses[0]
    assert any('coco/bbox_mAP' in line for line in lines)


@pytest.mark.long
def test_the_detector_finds_digits(run_tool, tmp_path, digits_coco):
    pytest.importorskip('mmdet')
    config = BASELINES / 'retinanet_r18-w16_digits-coco.py'
    options = short_detection_run(digits_coco)
    assert run_tool('train.py', config, '--work-dir', tmp_path / 'run', *options) is None

    cfg: Config = load_config(str(config))
    cfg.merge_from_dict(dict(option.split('=', 1) for option in options[1:]))
    cfg.update(work_dir=str(tmp_path / 'eval'), load_from=str(tmp_path / 'run' / 'epoch_12.pth'))
    assert Runner.from_cfg(cfg).test()['coco/bbox_mAP_50'] > 0.25


def test_the_saved_file_is_the_plain_model(run_tool, tmp_path):
    pytest.importorskip('mmpretrain')
    from mmpretrain import get_model

    config = BASELINES / 'resnet18-w16_digits.py'
    options = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64']
    assert run_tool('train.py', config, '--work-dir', tmp_path, '--no-validate', *options) is None
    weights = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    get_model(load_config(str(config)), pretrained=False).load_state_dict(weights, strict=True)


def test_a_config_that_inherits_from_the_installed_mmkd_trains(run_tool, tmp_path):
    pytest.importorskip('mmpretrain')
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = 'mmkd::baselines/resnet18-w16_digits.py'\n"
        'model = dict(backbone=dict(base_channels=8), head=dict(in_channels=64))\n'
        'train_cfg = dict(max_epochs=1)\n'
        'train_dataloader = dict(dataset=dict(indices=64))\n'
    )
    assert run_tool('train.py', config, '--work-dir', tmp_path / 'run', '--no-validate') is None
    weights = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert weights['head.fc.weight'].shape == (10, 64)
