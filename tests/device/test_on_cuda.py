"""Classifiers train on the device, by each method and option; frozen parts keep their bytes."""

import copy
import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmkd.acceleration.cuda_graph import CudaGraph
from mmkd.stages.phases import plan_phases
from tests.conftest import ROOT
from tests.distil import distil, distillation, plain, teacher  # noqa: F401  (fixtures)

HEADS = dict(type='mmkd.AuxiliaryHead', width=8)
SGD = dict(type='SGD', lr=0.05, momentum=0.9)
HALF = dict(type='AmpOptimWrapper', optimizer=SGD, dtype='float16', loss_scale='dynamic')
BRAIN = dict(type='AmpOptimWrapper', optimizer=SGD, dtype='bfloat16', loss_scale=1.0)
CASES = {
    'SSKD': dict(),
    'KD': dict(model=dict(type='mmkd.KD')),
    'MHKD': dict(model=dict(type='mmkd.MHKD', heads=HEADS)),
    'MHKD, teacher heads first': dict(
        model=dict(type='mmkd.MHKD', heads=HEADS), hook=dict(stages=['teacher_heads', 'all'])
    ),
    'SSKD, then MHKD': dict(model=dict(type='mmkd.MHKD', heads=HEADS), hook=dict(stages=['layer1', 'layer2', 'all'])),
    'best state': dict(hook=dict(keep_best=True)),
    'channels_last': dict(model=dict(channels_last=True)),
    'frozen_dtype': dict(model=dict(frozen_dtype='bfloat16')),
    'kept features': {'default_hooks.cache': dict(type='mmkd.FeatureCacheHook', views=2)},
    'average of weights': dict(custom_hooks=[dict(type='EMAHook')]),
    'clipped gradients': dict(optim_wrapper=dict(type='OptimWrapper', optimizer=SGD, clip_grad=dict(max_norm=1))),
    'accumulated gradients': dict(optim_wrapper=dict(type='OptimWrapper', optimizer=SGD, accumulative_counts=2)),
}
ONLY_CUDA = {
    'float16, SSKD': dict(optim_wrapper=HALF),
    'float16, MHKD': dict(optim_wrapper=HALF, model=dict(type='mmkd.MHKD', heads=HEADS)),
    'bfloat16, SSKD': dict(optim_wrapper=BRAIN),
    'bfloat16, KD, frozen_dtype': dict(optim_wrapper=BRAIN, model=dict(type='mmkd.KD', frozen_dtype='bfloat16')),
    'compiled': dict(model=dict(type='mmkd.KD', compile=True)),
}
GRAPHS = {
    'KD': dict(model=dict(type='mmkd.KD')),
    'FeatureKD': dict(model=dict(type='mmkd.FeatureKD')),
    'SSKD': dict(hook=dict(stages=['layer2', 'head'], lengths=[4, 4])),
    'SSKD, with the step': dict(
        hook=dict(stages=['layer2', 'head'], lengths=[4, 4]),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(SGD, fused=True)),
    ),
    'KD, with the step': dict(
        model=dict(type='mmkd.KD'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001, fused=True, capturable=True)),
    ),
    'SSKD, frozen_dtype': dict(
        model=dict(frozen_dtype='bfloat16'), hook=dict(stages=['layer2', 'head'], lengths=[4, 4])
    ),
    'MHKD': dict(model=dict(type='mmkd.MHKD', heads=HEADS, soft_until=0.6)),
}


@pytest.mark.parametrize('case', [*CASES, *(pytest.param(case, marks=pytest.mark.only_cuda) for case in ONLY_CUDA)])
def test_every_way_to_train(distil, train, plain, tmp_path, case):  # noqa: F811
    runner = distil(**{**CASES, **ONLY_CUDA}[case])
    losses = train(runner)
    assert losses
    assert all(math.isfinite(loss) for _, loss in losses)
    assert len({current for current, _ in losses}) == len(dict.fromkeys(current for current, _ in losses))
    from mmpretrain import get_model

    student = get_model(plain.copy(), pretrained=False)
    saved = torch.load(tmp_path / 'run' / 'epoch_8.pth', map_location='cpu', weights_only=False)
    student.load_state_dict(saved['state_dict'])


@pytest.mark.only_cuda
@pytest.mark.parametrize('case', GRAPHS)
def test_replayed_from_graphs(distil, train, case, monkeypatch):  # noqa: F811
    """The losses are the same except for rounding, and graphs are in use."""
    said = []
    monkeypatch.setattr('mmkd.acceleration.iteration_graphs.print_log', lambda text, **_: said.append(text))
    replays, replay = [], CudaGraph.replay
    monkeypatch.setattr(CudaGraph, 'replay', lambda graph: replays.append(replay(graph)))
    losses = []
    for graphs in (False, True):
        changes = copy.deepcopy(GRAPHS[case])
        changes['model'] = dict(changes.get('model', {}), cuda_graph=graphs)
        runner = distil(f'run-{graphs}', **{'train_cfg.val_interval': 4}, **changes)
        losses.append(train(runner))
        assert bool(replays) is graphs, said
    assert not said
    for (current, plain_one), (current_there, other) in zip(*losses, strict=True):
        assert current == current_there
        assert other == pytest.approx(plain_one, rel=0.05, abs=1e-3)


@pytest.mark.parametrize('method', ['SSKD', 'KD', 'MHKD'])
def test_it_computes_what_the_cpu_computes(distil, device, method):  # noqa: F811
    """Results agree within the device's rounding; tf32 would hide a mistake."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        model = dict(type=f'mmkd.{method}', **(dict(heads=HEADS) if method == 'MHKD' else {}))
        runner = distil(model=model)
        batch = next(iter(runner.train_dataloader))
        found = []
        for where in ('cpu', device):
            distiller = runner.model.to(where)
            distiller.eval()
            if not found:
                data = distiller.data_preprocessor(batch, training=False)
                distiller.prepare(data['inputs'])
                phases = ['layer2'] if method == 'SSKD' else distiller.default_phases()
                planned = plan_phases(phases, tuple(stage.name for stage in distiller.plan), distiller.teachable, False)
                distiller.build_extras(planned)
                distiller.enter(planned[0])
                distiller.to(where)
            distiller.train()
            torch.manual_seed(0)
            data = distiller.data_preprocessor(batch, training=False)
            total, _ = distiller.parse_losses(distiller(**data, mode='loss'))
            total.backward()
            grads = {name: p.grad.cpu().clone() for name, p in distiller.named_parameters() if p.grad is not None}
            distiller.zero_grad()
            found.append((total.detach().cpu(), grads))
    (loss, grads), (loss_there, grads_there) = found
    torch.testing.assert_close(loss_there, loss, rtol=1e-3, atol=1e-4)
    assert set(grads_there) == set(grads)
    norm = torch.stack([grad.norm() for grad in grads.values()]).norm()
    for name, grad in grads.items():
        assert (grads_there[name] - grad).norm() <= 1e-2 * grad.norm() + 1e-3 * norm, name


def test_resumed_it_goes_on_where_it_was(distil, train, tmp_path):  # noqa: F811
    whole = train(distil('whole'))
    resumed = train(distil('resumed', resume=True, load_from=str(tmp_path / 'whole' / 'epoch_5.pth')))
    assert [current for current, _ in resumed] == [current for current, _ in whole[-len(resumed) :]]
    for (_, again), (_, before) in zip(resumed, whole[-len(resumed) :]):
        assert again == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize('method', ['KD', 'SSKD'])
def test_images_that_stay_on_the_device(distil, train, tmp_path, device, method):  # noqa: F811
    draw = np.random.default_rng(0)
    images = {f'{split}_x': draw.integers(256, size=(64, 16, 16, 1), dtype=np.uint8) for split in ('train', 'test')}
    np.savez(tmp_path / 'images.npz', **images, train_y=np.arange(64) % 10, test_y=np.arange(64) % 10)
    crop = dict(type='RandomCrop', crop_size=16, padding=2)
    flip = dict(type='RandomFlip', prob=0.5, direction='horizontal')

    def loader(split, *steps):
        dataset = dict(type='mmkd.ResidentArrayDataset', ann_file=str(tmp_path / 'images.npz'), split=split)
        dataset['pipeline'] = [*steps, dict(type='PackInputs')]
        return dict(
            batch_size=16,
            num_workers=0,
            pin_memory=False,
            persistent_workers=False,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dataset,
        )

    loaders = dict(train_dataloader=loader('train', crop, flip), val_dataloader=loader('test'))
    runner = distil(model=dict(type=f'mmkd.{method}'), **loaders)
    losses = train(runner)
    assert all(math.isfinite(loss) for _, loss in losses)
    assert runner.train_dataloader.dataset.resident.device.type == device


def test_one_process_of_several(plain, teacher, tmp_path, device):  # noqa: F811
    """NCCL with one process, and batch norms that are the same in all processes."""
    config = distillation(plain, teacher, tmp_path / 'run')
    if device == 'cuda':
        config.sync_bn = 'torch'
    config.dump(tmp_path / 'config.py')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    path = f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}'
    environment = {**os.environ, 'PATH': path, 'PORT': str(port), 'OMP_NUM_THREADS': '1'}
    command = [str(ROOT / 'tools' / 'dist_train.sh'), str(tmp_path / 'config.py'), '1']
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    assert 'Summary of the stages' in run.stdout + run.stderr
    assert list((tmp_path / 'run').glob('epoch_8.pth'))


def test_it_moves_as_a_whole(distil, device):  # noqa: F811
    """The teacher moves along in .cpu() and .to()."""
    model = distil().model
    init_default_scope('mmpretrain')
    for where in ('cpu', device):
        model.to(where)
        for network in (model.student, model.teacher.network):
            assert {p.device.type for p in network.parameters()} == {where}
