"""Which process holds a folder, and when the folder is released."""

import errno
import fcntl
import subprocess
import sys

import pytest

from mmkd.errors import UserError
from mmkd.utils import locks
from mmkd.utils.locks import NAME, hold
from tests.conftest import ROOT

HOLD = """
import multiprocessing, sys, time
from mmkd.utils.locks import hold
hold(sys.argv[1], 'key', 'cure')
worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(20,), daemon=True)
worker.start()
print('held', flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder and has a worker."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait(20)


def test_a_folder_that_another_process_has(tmp_path, other, monkeypatch):
    monkeypatch.setattr(locks, 'PATIENCE', 0)
    said = rf'^key: another training \(process {other.pid} on .+\) is at work in {tmp_path}; cure\.$'
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            hold(tmp_path, 'key', 'cure')
    (tmp_path / NAME).write_bytes(b'\xff\x00')
    with pytest.raises(UserError, match=r'^key: another training is at work'):
        hold(tmp_path, 'key', 'cure')


def test_it_is_free_once_its_process_is_gone_though_a_worker_lives_on(tmp_path, other):
    other.kill()
    hold(tmp_path, 'key', 'cure')  # a process that is just ending may still hold it
    hold(tmp_path, 'key', 'cure')  # a process that holds the lock may take it again


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, number):
    said = []

    def refuse(*_):
        raise OSError(number, 'no locks here')

    monkeypatch.setattr(fcntl, 'lockf', refuse)
    monkeypatch.setattr(locks, 'print_log', lambda text, **_: said.append(text))
    hold(tmp_path, 'work_dir', 'cure')
    assert said == [
        f'work_dir: {tmp_path} cannot be locked (no locks here); make sure that no other training writes there.'
    ]


def test_on_a_full_disk_it_is_held_without_a_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(locks.os, 'pwrite', full)
    hold(tmp_path, 'key', 'cure')
    assert not (tmp_path / NAME).read_bytes()
