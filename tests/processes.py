"""Starts programs of several processes for tests."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

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


def run_two(script: Path, *args: object) -> str:
    """The output of a Python program that torchrun starts twice."""
    return run_together(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', script, *args]
    )


def dist_train(config: Path, *flags: object) -> str:
    """The output of two processes that ``tools/dist_train.sh`` starts."""
    (port,) = free_ports()
    return run_together([ROOT / 'tools' / 'dist_train.sh', config, 2, *flags], PORT=str(port))
