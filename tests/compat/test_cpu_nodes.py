"""The set-up of a process group without a GPU; tests/integration trains with such groups."""

import os
import subprocess
import sys

from tests.processes import free_ports

PROGRAM = """
import atexit, torch.distributed
atexit.register(lambda: print('left behind:', torch.distributed.is_initialized()))
from mmengine.config import Config
from mmkd.compat.cpu_nodes import prepare_cpu_node
prepare_cpu_node(Config(dict(launcher='pytorch')))
print('made:', torch.distributed.is_initialized())
"""

LEAVING = """
import os, sys
from mmkd.compat.cpu_nodes import leave
sys.stdout.write('flushed')
if sys.argv[1:]:
    leave(int(sys.argv[1]))
print(' by the interpreter, which was not ended before')
"""


def run_alone(program: str, *args: str) -> subprocess.CompletedProcess:
    (port,) = free_ports()
    place = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    environment = {**os.environ, **place, 'CUDA_VISIBLE_DEVICES': ''}
    return subprocess.run(
        [sys.executable, '-c', program, *args], env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_group_is_left_before_the_interpreter_ends():
    run = run_alone(PROGRAM)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-2:] == ['made: True', 'left behind: False']


def test_a_process_of_a_group_ends_without_the_interpreters_end():
    run = run_alone(PROGRAM + LEAVING + "raise SystemExit('not reached')", '7')
    assert run.returncode == 7, run.stderr
    assert run.stdout.splitlines()[-2:] == ['made: True', 'flushedleft behind: False']


def test_a_process_without_a_group_goes_on():
    run = run_alone(LEAVING, '7')
    assert run.returncode == 0, run.stderr
    assert run.stdout == 'flushed by the interpreter, which was not ended before\n'
