"""Signals: where the run stops and what it saves; the resumed run ends like an uninterrupted one."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmkd.checkpoints import preemption
from tests.conftest import ROOT
from tests.processes import run_two
from tests.toy import bytes_of, toy_runner


class Signal(Hook):
    """Sends the signal during one iteration, or right after one epoch's validation."""

    def __init__(self, number=signal.SIGTERM, iteration=None, epoch=None):
        self.number, self.iteration, self.epoch = number, iteration, epoch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            signal.raise_signal(self.number)

    def after_val_epoch(self, runner, metrics=None):
        if runner.epoch == self.epoch:
            signal.raise_signal(self.number)


def stopped(work_dir: Path, come: Signal, **kwargs):
    """Run until the signal stops it and return the exit code."""
    runner = toy_runner(work_dir, **kwargs)
    runner.register_hook(come)
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with pytest.raises(SystemExit) as stop:
        runner.train()
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before
    return runner, stop.value.code


def text(work_dir: Path) -> str:
    return ''.join(log.read_text() for log in sorted(work_dir.glob('*/*.log')))


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)], ids=lambda x: str(x)
)
def test_the_exit_code_tells_the_signal(tmp_path, number, code):
    _, stop = stopped(tmp_path / 'run', Signal(number, iteration=1))
    assert stop == code


def test_the_place_of_checkpoints_is_told(tmp_path):
    hook = dict(out_dir=str(tmp_path / 'elsewhere'), filename_tmpl='it_{:04d}.pth')
    stopped(tmp_path / 'run', Signal(iteration=4), by_epoch=False, budget=9, hook=hook)
    assert f'--resume goes on from {tmp_path}/elsewhere/run/it_0005.pth.' in text(tmp_path / 'run')


@pytest.mark.parametrize('interval', [1, 100])
def test_iterations_go_on_with_the_next(tmp_path, interval):
    whole = toy_runner(tmp_path / 'whole', by_epoch=False, budget=9)
    whole.train()
    kwargs = dict(by_epoch=False, budget=9, hook=dict(interval=interval))
    stopped(tmp_path / 'run', Signal(iteration=4), **kwargs)
    expected = 'iter_5.pth' if interval == 1 else 'interrupted.pth'
    assert Path((tmp_path / 'run' / 'last_checkpoint').read_text()).name == expected
    assert f'SIGTERM at iteration 5: --resume goes on from {tmp_path}/run/{expected}.' in text(tmp_path / 'run')
    resumed = toy_runner(tmp_path / 'run', resume=True, **kwargs)
    resumed.train()
    assert 'resumed epoch: 0, iter: 5' in text(tmp_path / 'run')
    assert bytes_of(resumed) == bytes_of(whole)
    assert not (tmp_path / 'run' / 'interrupted.pth').exists()


def test_gradients_that_are_being_accumulated_are_not_lost(tmp_path):
    accumulate = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=4))
    runner, _ = stopped(tmp_path / 'run', Signal(iteration=4), by_epoch=False, budget=16, **accumulate)
    assert runner.iter + 1 == 8


@pytest.mark.parametrize(('interval', 'scores'), [(1, ()), (100, ()), (100, (3.0, 1.0, 2.0, 4.0))])
def test_epochs_go_on_from_the_start_of_the_one_at_hand(tmp_path, interval, scores):
    save_best = dict(save_best='score', rule='greater') if scores else {}
    kwargs = dict(budget=4, scores=scores, hook=dict(interval=interval, **save_best))
    whole = toy_runner(tmp_path / 'whole', **kwargs)
    whole.train()
    runner, _ = stopped(tmp_path / 'run', Signal(iteration=9), **kwargs)
    assert runner.iter == 9
    expected = 'epoch_2.pth' if interval == 1 else 'interrupted.pth'
    assert Path((tmp_path / 'run' / 'last_checkpoint').read_text()).name == expected
    resumed = toy_runner(tmp_path / 'run', resume=True, **dict(kwargs, scores=scores[2:]))
    resumed.train()
    assert 'resumed epoch: 2, iter: 8' in text(tmp_path / 'run')
    assert bytes_of(resumed) == bytes_of(whole)
    if scores:
        assert resumed.message_hub.get_info('best_score') == 4.0
        best = [path.name for path in (tmp_path / 'run').glob('best*')]
        assert best == ['best_score_epoch_4.pth']


def test_what_validation_found_belongs_to_the_state_that_is_kept(tmp_path):
    hook = dict(interval=100, save_best='score', rule='greater')
    stopped(tmp_path / 'run', Signal(iteration=9), budget=4, scores=(1.0, 3.0), hook=hook)
    hub = torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)['message_hub']
    assert hub['runtime_info']['best_score'] == 3.0


def test_the_last_iteration_of_an_epoch_is_not_lost(tmp_path):
    stopped(tmp_path / 'run', Signal(iteration=7), budget=4, hook=dict(interval=100))
    assert torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)['meta']['epoch'] == 2


def test_a_signal_during_validation_waits_for_its_end(tmp_path):
    runner, _ = stopped(tmp_path / 'run', Signal(epoch=2), budget=4, scores=(1.0, 2.0))
    assert (runner.epoch, runner.iter) == (2, 8)


def test_before_the_first_epoch_s_end_there_is_nothing_to_keep(tmp_path):
    stopped(tmp_path / 'run', Signal(iteration=2))
    assert not (tmp_path / 'run' / 'last_checkpoint').exists()
    assert 'SIGTERM at iteration 3: no epoch is complete, --resume begins anew.' in text(tmp_path / 'run')


def test_stopped_again_before_the_next_epoch_s_end(tmp_path):
    stopped(tmp_path / 'run', Signal(iteration=5), hook=dict(interval=100))
    stopped(tmp_path / 'run', Signal(iteration=6), hook=dict(interval=100), resume=True)
    assert torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)['meta']['epoch'] == 1


def test_after_training_signals_mean_what_they_meant(tmp_path):
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    toy_runner(tmp_path / 'run', budget=1).train()
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


def test_a_signal_to_the_workers_too_does_not_cut_off_the_data(tmp_path):
    class ToWorkers(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 1:
                workers = ' '.join(str(worker.pid) for worker in multiprocessing.active_children())
                for name in ('TERM', 'USR1', 'INT'):
                    subprocess.run(['bash', '-c', f'kill -{name} {workers}'], check=True, timeout=60)

    runner = toy_runner(tmp_path / 'run', by_epoch=False, budget=20, workers=1)
    runner.register_hook(ToWorkers())
    runner.train()
    assert runner.iter == 20


def test_a_process_ends_its_workers_as_ever():
    context = multiprocessing.get_context('fork')
    ready = context.Event()
    worker = context.Process(target=_worker, args=(ready,), daemon=True)
    worker.start()
    ready.wait()
    worker.terminate()
    worker.join(60)
    assert worker.exitcode is not None


def _worker(ready):
    preemption._leave_signals_alone(None, 0)
    ready.set()
    time.sleep(3600)


LOOPS = {
    'epochs': {'default_hooks.checkpoint': dict(type='mmkd.SafeCheckpointHook', interval=100)},
    'iterations': {
        'train_cfg': dict(by_epoch=False, max_iters=12, val_interval=4),
        'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
        'param_scheduler': dict(type='CosineAnnealingLR', by_epoch=False),
        'default_hooks.checkpoint': dict(type='mmkd.SafeCheckpointHook', by_epoch=False, interval=100),
    },
}


@pytest.mark.parametrize(('loop', 'iteration'), [('epochs', 18), ('iterations', 7)])
def test_a_distillation_goes_on_within_its_stage(distil, tmp_path, loop, iteration):
    changes = dict(hook=dict(stages=['layer2', 'head']), **LOOPS[loop])
    changes['default_hooks.preemption'] = dict(type='mmkd.PreemptionHook')
    whole = distil('whole', **changes)
    whole.train()
    stopped = distil('run', **changes)
    stopped.register_hook(Signal(iteration=iteration))
    with pytest.raises(SystemExit):
        stopped.train()
    resumed = distil('run', resume=True, **changes)
    resumed.train()
    assert bytes_of(resumed) == bytes_of(whole)


TWICE = """
import signal, sys
from pathlib import Path
from mmengine.hooks import Hook
from tests.toy import toy_runner

class Twice(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            print('still here')

runner = toy_runner(Path(sys.argv[1]))
runner.register_hook(Twice())
runner.train()
"""


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    run = subprocess.run(
        [sys.executable, '-c', TWICE, tmp_path / 'run'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        timeout=120,
    )
    assert run.returncode == -signal.SIGINT
    assert 'SIGINT: leaving after this iteration; Ctrl-C now ends at once.' in run.stderr
    assert 'still here' not in run.stdout


TWO = """
import os, signal, sys
from pathlib import Path
import torch.distributed as dist
from mmengine.hooks import Hook
from tests.toy import toy_runner

dist.init_process_group('gloo')
rank = dist.get_rank()

class Uneven(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (rank, runner.iter) == (1, 3):
            signal.raise_signal(signal.SIGTERM)

wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
runner = toy_runner(Path(sys.argv[1]), by_epoch=False, budget=100, hook=dict(interval=100),
                    launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
runner.register_hook(Uneven())
try:
    runner.train()
except SystemExit as stop:
    Path(sys.argv[1], f'rank{rank}').write_text(f'{stop.code} {runner.iter}')
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
def test_all_processes_leave_after_the_same_iteration(tmp_path):
    (tmp_path / 'two.py').write_text(TWO)
    run_two(tmp_path / 'two.py', tmp_path / 'run')
    assert [(tmp_path / 'run' / f'rank{rank}').read_text() for rank in (0, 1)] == ['143 10', '143 10']
    assert torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)['meta']['iter'] == 11
