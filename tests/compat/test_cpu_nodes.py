"""What lies around a process group without a GPU. That it works: tests/integration."""

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


def test_the_group_is_left_before_the_interpreter_ends():
    (port,) = free_ports()
    place = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    environment = {**os.environ, **place, 'CUDA_VISIBLE_DEVICES': ''}
    run = subprocess.run([sys.executable, '-c', PROGRAM], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-2:] == ['made: True', 'left behind: False']
