"""Few labelled digits and many without labels: one run, resumed in the middle, and on two processes."""

import copy
import os
import socket
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.distil import distil, distillation, plain, teacher, without_chance  # noqa: F401  (fixtures)
from tests.distillers.test_sskd_training import bytes_of
from tests.distillers.test_unlabelled_losses import HEADS, UNLABELLED
from tests.integration.two_processes import train

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

METHODS = dict(
    sskd=(dict(type='mmkd.SSKD'), dict(stages=['layer2', 'layer4', 'head'])),
    kd=(dict(type='mmkd.KD'), {}),
    mhkd=(dict(type='mmkd.MHKD', heads=HEADS), dict(stages=['layer1', 'all'])),
    feature_kd=(dict(type='mmkd.FeatureKD'), {}),
)
ITERATIONS = {
    'train_cfg': dict(by_epoch=False, max_iters=12, val_interval=4),
    'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
    'param_scheduler': dict(type='CosineAnnealingLR', by_epoch=False),
    'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=1),
}


@pytest.mark.parametrize('method', METHODS)
def test_resume_ends_byte_for_byte_where_the_uninterrupted_run_ends(distil, tmp_path, method):  # noqa: F811
    model, hook = METHODS[method]
    changes = dict(unlabelled_dataloader=UNLABELLED)
    whole = distil('whole', hook, model, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_3.pth')  # in SSKD's second stage
    resumed = distil('resumed', hook, model, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)
    without = distil('without', hook, model)
    without.train()
    assert bytes_of(without.model.student) != bytes_of(whole.model.student)


@pytest.mark.parametrize('changes', [ITERATIONS, {'optim_wrapper.accumulative_counts': 2, 'randomness.seed': None}])
def test_resume_of_iteration_loops_and_between_steps_of_the_optimizer(distil, tmp_path, changes):  # noqa: F811
    hook, changes = dict(stages=['layer2', 'head']), {**changes, 'unlabelled_dataloader': UNLABELLED}
    whole = distil('whole', hook, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / ('iter_3.pth' if 'train_cfg' in changes else 'epoch_2.pth'))
    resumed = distil('resumed', hook, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
def test_two_processes_learn_from_their_shares_of_both(plain, tmp_path):  # noqa: F811
    network, peer = without_chance(plain)
    norm = {'model.student.backbone.norm_cfg': dict(type='GN', num_groups=4)}
    unlabelled = copy.deepcopy(UNLABELLED)
    unlabelled['dataset'].update(pipeline=network.train_dataloader.dataset.pipeline)
    hooks = dict(sskd=dict(stages=[['layer1'], 'head'], score_teacher=False), kd=dict(score_teacher=False))
    cases = {
        name: distillation(
            network, peer, tmp_path / 'run', hook, dict(METHODS[name][0]), unlabelled_dataloader=unlabelled, **norm
        )
        for name, hook in hooks.items()
    }
    for name, cfg in cases.items():
        cfg.experiment_name, cfg.work_dir = f'{tmp_path.name}_{name}', str(tmp_path / f'{name}_2')
        cfg.train_dataloader.batch_size, cfg.unlabelled_dataloader.batch_size = 8, 4
        torch.save(cfg.to_dict(), tmp_path / f'{name}.case')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2', f'--master-port={port}']
    script = [ROOT / 'tests' / 'integration' / 'two_processes.py', tmp_path]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    run = subprocess.run([*command, *script], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]
    for name, cfg in cases.items():
        cfg.work_dir = str(tmp_path / f'{name}_1')
        cfg.train_dataloader.batch_size, cfg.unlabelled_dataloader.batch_size = 16, 8
        alone = train(cfg)['state']
        ranks = [torch.load(tmp_path / f'{name}.rank{rank}', weights_only=False)['state'] for rank in (0, 1)]
        for key, value in alone.items():
            assert torch.equal(ranks[0][key], ranks[1][key]), (name, key)
            assert float((value - ranks[0][key]).abs().max()) < 1e-4 * float(value.abs().max().clamp(min=1e-3)), (
                name,
                key,
            )
