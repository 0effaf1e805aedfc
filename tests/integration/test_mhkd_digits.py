"""A real teacher, many heads on both networks, and a student's file that stock mmpretrain evaluates."""

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
MHKD = CONFIGS / 'mhkd' / 'mhkd_resnet18-w32_resnet18-w16_digits.py'
STUDENT = CONFIGS / 'baselines' / 'resnet18-w16_digits.py'


def test_the_heads_of_both_networks_learn_and_the_student_is_good(run_tool, trained_teacher, tmp_path):
    options = [
        '--cfg-options',
        'train_cfg.max_epochs=4',
        'train_dataloader.batch_size=16',
        f'model.teacher.checkpoint={trained_teacher}',
    ]
    assert run_tool('train.py', MHKD, '--work-dir', tmp_path / 'mhkd', *options) is None

    (log,) = (tmp_path / 'mhkd').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for whose in ('student_heads', 'teacher_heads'):
        for stage in ('layer1', 'layer2', 'layer3'):
            accuracies = [line[f'val_{whose}/{stage}'] for line in lines if f'val_{whose}/{stage}' in line]
            assert accuracies[-1] > (35 if stage == 'layer1' else 80), (whose, stage)  # chance is 10

    student = load_config(str(STUDENT))
    student.update(work_dir=str(tmp_path / 'test'), load_from=str(tmp_path / 'mhkd' / 'epoch_4.pth'))
    assert Runner.from_cfg(student).test()['accuracy/top1'] > 85


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
def test_two_processes_over_the_phases(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{MHKD}'\n"
        'model = dict(teacher=dict(checkpoint=None), soft_until=0.5)\n'
        'train_cfg = dict(max_epochs=3)\n'
        'train_dataloader = dict(dataset=dict(indices=256))\n'
        "default_hooks = dict(stages=dict(stages=['layer1', 'teacher_heads', 'all'], lengths=[1, 1, 1]))\n"
    )
    text = train_two(config, '--work-dir', tmp_path / 'run')
    assert [f'Stage {name} begins' in text for name in ('layer1', 'teacher_heads', 'all')] == [True] * 3
    init_default_scope('mmpretrain')
    student = MODELS.build(load_config(str(STUDENT)).model)
    weights = torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=False)['state_dict']
    student.load_state_dict(weights, strict=True)
