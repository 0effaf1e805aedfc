"""NVIDIA's MPS, by which the kernels of several processes run side by side instead of in turn."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

PROBE = 'import torch; assert (torch.ones(8, device="cuda") + 1).sum().item() == 16'


@contextmanager
def shared_gpu() -> Iterator[bool]:
    """Start it, and end it again. It changes no setting of the card.

    Yields:
        Whether it runs: not everywhere it is installed or allowed, and trainings can do without.
    """
    program = shutil.which('nvidia-cuda-mps-control')
    if program is None:
        yield False
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = dict(CUDA_MPS_PIPE_DIRECTORY=f'{folder}/pipe', CUDA_MPS_LOG_DIRECTORY=f'{folder}/log')
        for path in own.values():
            os.mkdir(path)
        before = dict(os.environ)
        os.environ.update(own)
        runs = False
        try:
            runs = _run([program, '-d']) and _run([sys.executable, '-c', PROBE])
            if not runs:
                _run([program], 'quit\n')
                _restore(before)
            yield runs
        finally:
            if runs:
                _run([program], 'quit\n')
                _restore(before)


def _run(command: list[str], text: str = '') -> bool:
    """Whether it ended well, and in a minute."""
    try:
        nowhere = subprocess.DEVNULL
        run = subprocess.run(command, input=text, text=True, stdout=nowhere, stderr=nowhere, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


def _restore(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
