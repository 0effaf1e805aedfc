"""Killed, starved and damaged runs, once resumed, end with the very weights of the run without a fault.

The long ones are the soak test: make soak, which writes its table into docs/reliability.md.
"""

import os
import random
import re
import signal
import time

import pytest

from tests import faults
from tests.faults import Training, a, at_boundary, at_iteration, while_writing

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Arguments of a training whose teacher is in a file."""
    return faults.write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def whole(config):
    """The training without a fault: its weights and its duration."""
    training = Training(config, config.parent / 'whole')
    begin = time.monotonic()
    assert training.run() == 0, training.text()
    return training.weights(), time.monotonic() - begin


@pytest.fixture
def training(config, tmp_path):
    return Training(config, tmp_path / 'run')


@pytest.mark.parametrize(
    'fault',
    [a(at_iteration, 14), a(at_boundary, 2), a(while_writing, 9)],
    ids=['in a stage', 'at a boundary', 'while a checkpoint is written'],
)
def test_killed(training, whole, fault):
    assert training.run(fault) == -signal.SIGKILL
    assert training.run() == 0, training.text()
    assert training.weights() == whole[0]
    assert training.repeated() <= faults.LENGTH
    assert not list(training.work_dir.glob('*.mmkd-partial'))


def test_stopped_by_a_signal(training, whole):
    assert training.run(a(at_iteration, 14, faults.send, signal.SIGTERM)) == 143
    assert 'SIGTERM at iteration 14: --resume goes on from' in training.text()
    assert training.run() == 0, training.text()
    assert training.weights() == whole[0]


def test_full_disk(training, whole):
    assert training.run(a(at_iteration, 14, faults.fill_disk)) == 1
    assert 'epoch_4.pth cannot be written (File too large); what was saved before' in training.text().splitlines()[-1]
    assert training.checkpoint.name == 'epoch_3.pth'
    assert training.run() == 0, training.text()
    assert training.weights() == whole[0]


@pytest.fixture
def small_disk(tmp_path):
    """Disk space for the run, and little more."""
    with faults.small_disk(tmp_path / 'disk', '8M') as folder:
        yield folder


@pytest.mark.parametrize('iteration', [2, 14], ids=['before the first checkpoint', 'later'])
def test_a_disk_that_is_really_full(training, whole, small_disk, iteration):
    training.work_dir = small_disk / 'run'
    training.output = small_disk.parent / 'output.txt'
    assert training.run(a(at_iteration, iteration, faults.fill, small_disk)) == 1
    *before, last = training.text().splitlines()
    assert re.match(r'error: (work_dir|default_hooks\.checkpoint): .* cannot be written \(No space left', last)
    assert 'Traceback' not in '\n'.join(before)
    assert 'Logging error' not in '\n'.join(before)
    (small_disk / 'filler').unlink()
    assert training.run() == 0, training.text()
    assert training.weights() == whole[0]


def test_damaged_checkpoint(training, whole):
    assert training.run(a(at_iteration, 14)) == -signal.SIGKILL
    os.truncate(training.checkpoint, 10_000)
    assert training.run() == 0, training.text()
    assert 'epoch_3.pth. The run goes on from' in training.text()
    assert training.weights() == whole[0]


def test_teacher_removed(training, whole, config):
    teacher = config.parent / 'teacher.pth'
    content = teacher.read_bytes()
    try:
        assert training.run(a(at_iteration, 2, faults.remove, teacher)) == 0, training.text()
    finally:
        teacher.write_bytes(content)
    assert training.weights() == whole[0]


def test_data_loader_worker_killed(training):
    training.options = ('train_dataloader.num_workers=1',)
    assert training.run(a(at_iteration, 14, faults.kill_workers)) == 1
    # after it torch may report the same worker again, from a destructor
    told = training.text()
    assert any(line.startswith('error: train_dataloader.num_workers') for line in told.splitlines()), told
    assert training.checkpoint.name == 'epoch_3.pth'
    assert training.run() == 0, training.text()


LONG = {
    'SIGKILL in a stage': (at_iteration, (3, 14, 22)),
    'SIGKILL at a boundary of stages': (at_boundary, (1, 2, 3)),
    'SIGKILL while a checkpoint or the pointer to it is written': (while_writing, range(1, 25, 4)),
}


@pytest.mark.long
@pytest.mark.parametrize(('name', 'when'), [(name, when) for name, (_, moments) in LONG.items() for when in moments])
def test_killed_at_each_moment(training, whole, soak, name, when):
    with soak.tries(name) as outcome:
        assert training.run(a(LONG[name][0], when)) == -signal.SIGKILL
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]


@pytest.mark.long
@pytest.mark.parametrize('iteration', [7, 22])
def test_full_at_each_epoch(training, whole, soak, iteration):
    with soak.tries('Full disk (no file may grow) while a checkpoint is saved') as outcome:
        assert training.run(a(at_iteration, iteration, faults.fill_disk)) == 1
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]


@pytest.mark.long
@pytest.mark.parametrize('iteration', [2, 7, 14, 22])
def test_really_full_at_each_epoch(training, whole, small_disk, soak, iteration):
    training.work_dir = small_disk / 'run'
    with soak.tries('Full disk (a real one of 8 MB), at the log, a checkpoint or the pointer to it') as outcome:
        assert training.run(a(at_iteration, iteration, faults.fill, small_disk)) == 1
        (small_disk / 'filler').unlink()
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]


@pytest.mark.long
@pytest.mark.parametrize('kept', [0, 10_000, -1])
def test_damaged_at_each_length(training, whole, soak, kept):
    with soak.tries('SIGKILL, and the last checkpoint is cut off') as outcome:
        assert training.run(a(at_iteration, 14)) == -signal.SIGKILL
        os.truncate(training.checkpoint, kept if kept >= 0 else training.checkpoint.stat().st_size - 1)
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]


@pytest.mark.long
@pytest.mark.parametrize('iteration', [6, 18])
def test_workers_killed(training, soak, iteration):
    training.options = ('train_dataloader.num_workers=1',)
    undisturbed = Training(training.config, training.work_dir.with_name('undisturbed'), training.options)
    assert undisturbed.run() == 0
    with soak.tries('SIGKILL of a data loader worker') as outcome:
        assert training.run(a(at_iteration, iteration, faults.kill_workers)) == 1
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == undisturbed.weights()


@pytest.mark.long
@pytest.mark.parametrize('iteration', [1, 9])
def test_teacher_removed_at_each_stage(training, whole, soak, config, iteration):
    teacher = config.parent / 'teacher.pth'
    content = teacher.read_bytes()
    with soak.tries("The teacher's file is removed after the start") as outcome:
        try:
            assert training.run(a(at_iteration, iteration, faults.remove, teacher)) == 0, training.text()
        finally:
            teacher.write_bytes(content)
        outcome.repeated = 0
        assert training.weights() == whole[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ('number', 'seed'),
    [(signal.SIGKILL, seed) for seed in range(20)] + [(n, seed) for n in SIGNALS for seed in range(3)],
)
def test_at_any_moment(training, whole, soak, number, seed):
    weights, seconds = whole
    draw = random.Random(seed)
    with soak.tries(f'{signal.Signals(number).name} at a random moment') as outcome:
        process = training.start()
        faults.after_a_while(process, seconds, number, draw)
        process.join(300)
        before_training = -number if number != signal.SIGINT else 1  # Python reports this as a KeyboardInterrupt
        assert process.exitcode in (before_training, 128 + number, 0)
        again = process.exitcode and training.run()
        assert not again, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == weights
