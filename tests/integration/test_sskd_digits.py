"""The demo's training, shorter: a real teacher and distillation; stock mmpretrain evaluates the saved file."""

import json

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.processes import train_two

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
CONFIGS = ROOT / 'configs'


def test_every_stage_learns_and_the_student_is_good(run_tool, trained_teacher, tmp_path):
    config = CONFIGS / 'sskd' / 'sskd_resnet18-w32_resnet18-w16_digits.py'
    options = [
        '--cfg-options',
        'train_cfg.max_epochs=8',
        'train_dataloader.batch_size=16',
        f'model.teacher.checkpoint={trained_teacher}',
        'default_hooks.logger.interval=1',
    ]
    assert run_tool('train.py', config, '--work-dir', tmp_path / 'sskd', *options) is None

    (log,) = (tmp_path / 'sskd').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        assert [line[f'val_r2_{stage}'] for line in lines if f'val_r2_{stage}' in line][-1] > 0.6, stage

    student = load_config(str(CONFIGS / 'baselines' / 'resnet18-w16_digits.py'))
    student.update(work_dir=str(tmp_path / 'test'), load_from=str(tmp_path / 'sskd' / 'epoch_8.pth'))
    assert Runner.from_cfg(student).test()['accuracy/top1'] > 85


@pytest.mark.long  # test_data_parallel trains the same, test_mhkd_digits and test_train use the same program
@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
def test_two_processes_over_stage_boundaries(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{CONFIGS}/sskd/sskd_resnet18-w32_resnet18-w16_digits.py'\n"
        'model = dict(teacher=dict(checkpoint=None))\n'
        'train_cfg = dict(max_epochs=3)\n'
        'train_dataloader = dict(dataset=dict(indices=256))\n'
        "default_hooks = dict(stages=dict(stages=['layer1', 'layer3', 'head'], fractions=[1 / 3] * 3))\n"
    )
    text = train_two(config, '--work-dir', tmp_path / 'run')
    assert [f'Stage {name} begins' in text for name in ('layer1', 'layer3', 'head')] == [True] * 3
    assert 'THE TEACHER IS NOT TRAINED' in text
    init_default_scope('mmpretrain')
    student = MODELS.build(load_config(str(CONFIGS / 'baselines' / 'resnet18-w16_digits.py')).model)
    weights = torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=False)['state_dict']
    student.load_state_dict(weights, strict=True)
