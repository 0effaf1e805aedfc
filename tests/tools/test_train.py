"""The command line: flags that reach the run, and mistakes that stop with one sentence."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmkd.checkpoints.safe_load import load_checkpoint
from mmkd.utils import locks
from tests.conftest import ROOT
from tests.processes import free_ports, run_together

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
CONFIG = ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'
SHORT = (
    '--cfg-options',
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.indices=128',
    'val_dataloader.dataset.indices=40',
    'test_dataloader.dataset.indices=40',
)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('nowhere.py',), 'error: config nowhere.py does not exist in the current folder, '),
        ((CONFIG, '--amp'), 'error: optim_wrapper.type: mixed precision (--amp) needs a GPU'),
        ((CONFIG, '--amp-dtype', 'float16'), 'error: optim_wrapper.type: mixed precision (--amp) needs a GPU'),
        (
            (CONFIG, '--resume', 'nowhere.pth'),
            'error: --resume: nowhere.pth does not exist in the current folder, ',
        ),
        ((CONFIG, '--profile', '0'), 'error: --profile: it must be a whole number of iterations, 1 or more, not 0.'),
        (
            (CONFIG, '--profile', '2.5'),
            'error: --profile: it must be a whole number of iterations, 1 or more, not 2.5.',
        ),
        ((CONFIG, '--profile', '9', '--cfg-options', 'compile=True'), 'error: --profile: compile is on, and inside'),
        (
            (CONFIG, '--profile', '9', '--cfg-options', "model.compile={'backend': 'eager'}"),
            'error: --profile: model.compile is on, and inside',
        ),
        ((CONFIG, '--work-dir', '/proc/nowhere'), 'error: work_dir: /proc/nowhere cannot be written'),
        ((CONFIG, '--cfg-options', 'train_dataloader=None'), 'error: config'),
        (
            (
                CONFIG,
                '--cfg-options',
                'train_dataloader.dataset.type=mmkd.ArrayDataset',
                'train_dataloader.dataset.ann_file=nowhere.npz',
            ),
            'error: train_dataloader.dataset.ann_file: nowhere.npz',
        ),
    ],
)
def test_mistakes(run_tool, args, message, tmp_path, monkeypatch):
    if {'--amp', '--amp-dtype'} & {*args} and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    monkeypatch.chdir(tmp_path)
    assert run_tool('train.py', *args).startswith(message)
    assert list(tmp_path.iterdir()) == []  # no half-written file


def test_exit_code_and_no_traceback(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'train.py', 'nowhere.py'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f'error: config nowhere.py does not exist in the current folder, {tmp_path}.'
    assert 'Traceback' not in run.stderr


def test_train_resume_and_test(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixed = '--amp-dtype', 'bfloat16'
    assert run_tool('train.py', CONFIG, '--work-dir', 'run', '--auto-scale-lr', *mixed, *SHORT) is None
    kind = Config.fromfile(f'run/{CONFIG.name}').optim_wrapper.type
    assert kind == ('AmpOptimWrapper' if torch.cuda.is_available() else 'mmkd.CPUAmpOptimWrapper')
    first = load_checkpoint('run/epoch_1.pth')
    assert first['meta']['epoch'] == 1

    longer = [option.replace('max_epochs=1', 'max_epochs=2') for option in SHORT]
    assert run_tool('train.py', CONFIG, '--work-dir', 'run', '--resume', '--no-validate', *mixed, *longer) is None
    second = load_checkpoint('run/epoch_2.pth')
    assert second['meta']['iter'] == 2 * first['meta']['iter']

    assert run_tool('test.py', CONFIG, 'run/epoch_2.pth', '--work-dir', 'eval', '--out', 'eval/out.pkl', *SHORT) is None
    assert os.path.getsize('eval/out.pkl') > 0
    assert run_tool('test.py', CONFIG, 'run/epoch_22.pth').startswith(
        f'error: checkpoint: run/epoch_22.pth does not exist in the current folder, {tmp_path}. '
        'Did you mean run/epoch_2.pth'
    )


def test_profile(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = [*SHORT, 'train_dataloader.batch_size=16', 'model.backbone.base_channels=4', 'model.head.in_channels=32']
    assert run_tool('train.py', CONFIG, '--work-dir', 'run', '--profile', '6', *short).startswith(
        'error: --profile: 6 iterations after 3 to warm up are more than the 8 of the training; take 5 at most.'
    )
    assert run_tool('train.py', CONFIG, '--work-dir', 'run', '--profile', '5', *short) is None
    assert 'Profile of 5 iterations: ' in ''.join(log.read_text() for log in tmp_path.rglob('*.log'))
    assert (tmp_path / 'run' / 'profile.json.gz').stat().st_size > 0
    assert (tmp_path / 'run' / 'epoch_1.pth').stat().st_size > 0


class Evil:
    def __reduce__(self):
        return os.mkdir, ('made',)


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_code_in_a_checkpoint_runs_only_if_it_is_trusted(run_tool, tmp_path, monkeypatch, tool):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=dict(), more=Evil()), 'evil.pth')
    args, options = (CONFIG, '--work-dir', 'run', *SHORT), []
    if tool == 'train.py':
        options = ['load_from=evil.pth']
    else:
        args = (CONFIG, 'evil.pth', *args[1:])
    message = run_tool(tool, *args, *options)
    key = 'checkpoint' if tool == 'test.py' else 'load_from'
    assert message.startswith(f'error: {key}: evil.pth holds more than weights')
    assert not os.path.exists('made')
    trusted = run_tool(tool, *args, *options, 'trust_checkpoints=True')
    assert os.path.exists('made')
    assert 'evil.pth does not fit' in trusted  # the weights are looked at, and there are none


MPIRUN = ['mpirun', '--allow-run-as-root', '--oversubscribe', '-n', '2', sys.executable, ROOT / 'tools' / 'train.py']


@pytest.mark.skipif(torch.cuda.is_available(), reason='on GPUs mmengine does this by itself')
@pytest.mark.parametrize(
    ('launcher', 'command'),
    [('pytorch', [ROOT / 'tools' / 'dist_train.sh', CONFIG, '2']), ('mpi', [*MPIRUN, CONFIG, '--launcher', 'mpi'])],
)
def test_two_processes_on_a_machine_without_a_gpu(tmp_path, launcher, command):
    if launcher == 'mpi' and not shutil.which('mpirun'):
        pytest.skip('there is no Open MPI here (apt-get install openmpi-bin)')
    port, mpi_port = map(str, free_ports(2))
    flags = ['--work-dir', tmp_path, '--profile', '1', *SHORT, 'train_dataloader.batch_size=16']
    text = run_together([*command, *flags], PORT=port, MASTER_PORT=mpi_port)
    assert f'Distributed launcher: {launcher}' in text
    assert 'GPU number: 2' in text  # mmengine's tag for the number of processes
    assert 'Multi-processing start method' not in text  # workers use the config's start method
    assert text.count('  waiting for data  ') == 1  # of one of the processes
    weights = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert not any(name.startswith('module.') for name in weights)


def test_a_work_dir_in_which_another_training_is_at_work(run_tool, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'PATIENCE', 0)
    code = 'import sys, time; from mmkd.utils.locks import hold; hold(*sys.argv[1:]); print(flush=True); time.sleep(60)'
    other = subprocess.Popen([sys.executable, '-c', code, tmp_path, 'a', 'b'], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout.readline()
        message = run_tool('train.py', CONFIG, '--work-dir', tmp_path, *SHORT)
    finally:
        other.kill()
        other.wait(20)
    assert message.startswith(f'error: work_dir: another training (process {other.pid} on ')
    assert message.endswith(f'in {tmp_path}; wait for it or end it, or choose another folder with --work-dir.')
    assert [path.name for path in tmp_path.iterdir()] == [locks.NAME]
