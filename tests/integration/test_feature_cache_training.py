"""Kept features in whole trainings: killed, in two processes, and as accurate as without."""

import signal
from functools import partial

import pytest
import torch

from tests.conftest import ROOT
from tests.distil import distillation, plain, teacher, without_chance  # noqa: F401  (fixtures)
from tests.faults import CONFIG, Training, a, at_iteration
from tests.processes import run_two

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
CONFIGS = ROOT / 'configs'
CACHE = "cache=dict(type='mmkd.FeatureCacheHook', views=2),"
LONGER_HEAD = 'lengths=[1, 1, 4]'


def while_filling(count, happen):
    """Raised when some batches are in the file."""
    from mmkd.feature_cache.file import RowFile

    write, calls = RowFile.write, []

    def watched(*args):
        write(*args)
        calls.append(1)
        if len(calls) == count:
            happen()

    RowFile.write = watched


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('config')
    text = CONFIG.replace("'TEACHER'", 'None').replace('lengths=[2, 2, 2]', LONGER_HEAD)
    (folder / 'config.py').write_text(text.replace('default_hooks = dict(', f'default_hooks = dict({CACHE}'))
    return folder / 'config.py'


@pytest.fixture(scope='module')
def whole(config):
    training = Training(config, config.parent / 'whole')
    assert training.run() == 0, training.text()
    return training.weights()


def file_of(training):
    return [path.name for path in (training.work_dir / 'feature_cache').glob('features-*')]


@pytest.mark.parametrize(
    'fault',
    [
        pytest.param(a(while_filling, 5), id='filling'),
        pytest.param(a(at_iteration, 14), id='learning', marks=pytest.mark.long),
    ],
)
def test_killed(config, whole, tmp_path, fault):
    training = Training(config, tmp_path / 'run')
    assert training.run(fault) == -signal.SIGKILL
    (file,) = file_of(training)
    assert file.endswith('.mmkd-partial') == (fault.func is while_filling)
    assert training.run() == 0, training.text()
    assert training.weights() == whole
    assert file_of(training) == [file.partition('.bin')[0] + '.bin']
    assert training.text().count('Feature cache: filled in') == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
def test_two_processes(plain, tmp_path):  # noqa: F811
    network, peer = without_chance(plain)
    network.train_dataloader.dataset.indices = 35  # no process gets equally many
    hook = dict(stages=['layer2', 'head'], lengths=[1, 3], score_teacher=False)
    for name in ('images', 'kept'):
        cfg = distillation(network, peer, tmp_path / name, hook)
        if name == 'kept':
            cfg.default_hooks.cache = dict(type='mmkd.FeatureCacheHook', views=1)
        torch.save(cfg.to_dict(), tmp_path / f'{name}.case')
    said = run_two(ROOT / 'tests' / 'integration' / 'two_processes.py', tmp_path)
    assert said.count('Feature cache: filled in') == 1
    states = {
        (name, rank): torch.load(tmp_path / f'{name}.rank{rank}', weights_only=False)['state']
        for name in ('images', 'kept')
        for rank in (0, 1)
    }
    expected = states['images', 0]
    for state in states.values():
        assert all(torch.allclose(state[name], value, rtol=1e-5, atol=1e-7) for name, value in expected.items())


@pytest.mark.long
def test_as_good_as_without(run_tool, tmp_path):
    teacher = ['--cfg-options', 'train_cfg.max_epochs=5']  # noqa: F811
    run = partial(run_tool, 'train.py')
    assert run(CONFIGS / 'baselines' / 'resnet18-w32_digits.py', '--work-dir', tmp_path / 't', *teacher) is None
    config = tmp_path / 'config.py'
    scores = {}
    for name in ('images', 'kept'):
        hook = CACHE.replace('views=2', 'views=4') if name == 'kept' else ''
        config.write_text(
            f"_base_ = '{CONFIGS}/sskd/sskd_resnet18-w32_resnet18-w16_digits.py'\n"
            f"model = dict(teacher=dict(checkpoint='{tmp_path}/t/epoch_5.pth'))\n"
            f'train_cfg = dict(max_epochs=24)\ndefault_hooks = dict(stages=dict(unfreeze_last=False), {hook})\n'
        )
        assert run(config, '--work-dir', tmp_path / name) is None
        log = ''.join(path.read_text() for path in (tmp_path / name).glob('*/*.log'))
        scores[name] = float(log.rpartition('accuracy/top1: ')[2].split()[0])
    assert scores['images'] > 85
    assert scores['kept'] > scores['images'] - 2  # 7 of 360 images
