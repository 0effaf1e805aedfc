import errno
import io
import logging
import os
import signal

import pytest
from mmengine.runner import Runner, ValLoop

from mmkd.cli.machine_errors import explain_dead_workers, explain_full_disk
from mmkd.errors import UserError


def _try_get_data(error):
    """The method of torch's loader in which a worker's broken pipe is noticed."""
    raise error


def test_a_dead_worker_is_explained():
    message = (
        r'^train_dataloader\.num_workers: a data loader worker died \(DataLoader worker \(pid 7\) is killed by signal: '
        r'Killed\), usually .* \(/dev/shm counts\), then test again\.$'
    )
    with pytest.raises(UserError, match=message), explain_dead_workers('test again'):
        raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')
    with pytest.raises(UserError, match='a data loader worker died'), explain_dead_workers('test again'):
        _try_get_data(ConnectionResetError(104, 'Connection reset by peer'))


@pytest.mark.parametrize(('part', 'method', 'split'), [(ValLoop, 'run', 'val'), (Runner, 'test', 'test')])
def test_whose_worker_died(part, method, split):
    def load(self):
        raise RuntimeError('DataLoader worker (pid 7) is killed')

    load.__code__ = load.__code__.replace(co_name=method)
    with pytest.raises(UserError, match=rf'^{split}_dataloader\.num_workers: '), explain_dead_workers('test again'):
        load(part.__new__(part))


def test_torch_does_not_interrupt_the_sentence_for_the_same_worker():
    """A signal handler that raises wherever the program is."""
    before = signal.signal(
        signal.SIGCHLD, lambda *_: _try_get_data(RuntimeError('DataLoader worker (pid 7) is killed'))
    )
    try:
        with pytest.raises(UserError), explain_dead_workers('test again'):
            _try_get_data(ConnectionResetError(104, 'Connection reset by peer'))
        os.kill(os.getpid(), signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize('error', [RuntimeError('another'), ConnectionResetError('of a network')])
def test_other_errors_are_not(error):
    with pytest.raises(type(error)), explain_dead_workers('test again'):
        raise error


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_whatever_is_written(number):
    said = r'^work_dir: run/scalars.json cannot be written \(full\); make room or test elsewhere\.$'
    with pytest.raises(UserError, match=said), explain_full_disk('run', 'test elsewhere'):
        raise OSError(number, 'full', 'run/scalars.json')
    with pytest.raises(PermissionError), explain_full_disk('run', 'test elsewhere'):
        raise PermissionError(errno.EACCES, 'not yours', 'run/scalars.json')


class Full(io.StringIO):
    def write(self, text):
        raise self.error


def test_a_log_on_a_full_disk_is_told_once_and_in_a_line(capsys):
    stream, logger = Full(), logging.Logger('of a run')
    logger.addHandler(logging.StreamHandler(stream))
    stream.error = OSError(errno.ENOSPC, 'full')
    with explain_full_disk('run', 'test elsewhere'):
        logger.info('one')
        logger.info('two')
    assert capsys.readouterr().err == 'The log in run cannot be written (full).\n'
    stream.error = ValueError('a mistake in a format')
    with explain_full_disk('run', 'test elsewhere'):
        logger.info('three')
    assert 'Logging error' in capsys.readouterr().err
