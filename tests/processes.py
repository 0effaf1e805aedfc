"""Starts programs of several processes for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import forked
from tests.conftest import ROOT


def free_ports(count: int = 1) -> list[int]:
    """Unused ports."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]


def run_together(command: Sequence, limit: float = 600, **environment: str) -> str:
    """The output of the processes that a launcher starts; they must end successfully within this many seconds."""
    path = f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}'
    settings = {'PATH': path, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **environment}
    with subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as launcher:
        try:
            said, _ = launcher.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            launcher.terminate()  # torchrun ends its processes at a signal; if killed, it would leave them running
            said, _ = launcher.communicate(timeout=60)
            raise AssertionError(f'not done after {limit} s\n{said[-5000:]}') from None
    assert launcher.returncode == 0, said[-5000:]
    return said


def run_two(script: Path, *args: object, limit: float = 600) -> str:
    """The output of a Python program in two processes, which torchrun would start; they must end successfully."""
    (port,) = free_ports()
    shared = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2', LOCAL_WORLD_SIZE='2')
    with TemporaryDirectory() as folder:
        outputs = [Path(folder, f'{rank}.txt') for rank in (0, 1)]
        for output in outputs:
            output.touch()
        both = [
            forked.start(script, args, output, [one_thread], RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank, output in enumerate(outputs)
        ]
        end = time.monotonic() + limit
        try:
            while any(one.exitcode is None for one in both):
                if any(one.exitcode for one in both) or time.monotonic() > end:
                    break
                wait([one.sentinel for one in both if one.exitcode is None], timeout=1)
        finally:
            for one in both:
                one.kill()
                one.join()
        said = ''.join(output.read_text() for output in outputs)
        assert [one.exitcode for one in both] == [0, 0], said[-5000:]
        return said


def one_thread() -> None:
    """Several processes must not all use all cores."""
    import torch

    torch.set_num_threads(1)


def train_two(config: Path, *flags: object) -> str:
    """The output of two processes that train as ``tools/dist_train.sh`` does, without torchrun."""
    return run_two(ROOT / 'tools' / 'train.py', config, '--launcher', 'pytorch', *flags)
