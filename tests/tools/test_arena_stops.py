"""A signal to tools/arenas/run.py ends its trainings, which stay resumable."""

import json
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ARENA = """
from arena import Arena, Row, Table
ARENA = Arena('Small', '', [Table('', [Row('alone', 'Alone', 'baselines/resnet18-w16_digits', teacher=None)])])
"""
PROGRAM = f"""
import runpy, sys
sys.path[:0] = ['{ROOT}/tools/arenas', '{ROOT}/tools/benchmark']
import training
command = [sys.executable, '-c', sys.argv.pop()]
training.Trainer.__init__.__defaults__ = (float('inf'), lambda training: command)
runpy.run_path('{ROOT}/tools/arenas/run.py', run_name='__main__')
"""


@pytest.mark.parametrize(
    ('number', 'send'),
    [
        (signal.SIGTERM, 'os.kill(os.getppid(), 15)'),
        (signal.SIGINT, 'os.killpg(os.getpgid(0), 2)'),  # as a terminal does at Ctrl-C
    ],
    ids=['SIGTERM', 'SIGINT'],
)
def test_a_signal_ends_what_is_trained(tmp_path, number, send):
    (tmp_path / 'small.py').write_text(ARENA)
    child = f'import os, time; {send}; time.sleep(300)'
    command = [sys.executable, '-c', PROGRAM, 'small.py', '--out', 'out', child]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, start_new_session=True)
    assert run.returncode == 128 + number
    said = f'{number.name}: the trainings are cut; the same command goes on with them.'
    assert (run.stdout, run.stderr.splitlines()[-1:]) == ('', [said])
    assert 'Traceback' not in run.stderr
    (results,) = (tmp_path / 'out').glob('*/small.jsonl')
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line['name'], line['state']) for line in lines] == [('alone_s0', 'cut')]
