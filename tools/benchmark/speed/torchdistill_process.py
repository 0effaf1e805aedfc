"""Runs torchdistill in a separate process, which trains as many iterations as it is asked for."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from mmkd.errors import UserError

PACKAGE = 'torchdistill==1.1.5'
WORKER = Path(__file__).with_name('torchdistill_worker.py')


def install(folder: Path) -> None:
    """Install torchdistill into a folder; torch and its other requirements are the ones that mmkd uses."""
    if list(distributions(path=[str(folder)])):
        return
    pip = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', str(folder), PACKAGE]
    if subprocess.run(pip).returncode:
        raise UserError(f'torchdistill: pip could not install {PACKAGE}; look above why, or give --no-torchdistill.')


class TorchDistill:
    """A training of ResNet-18 from ResNet-34 by torchdistill.

    Args:
        phase: ``'kd'``, or the group of blocks that learns.
        batch: Images in an iteration.
        folder: Where torchdistill is, unless this process could import it, too.
    """

    def __init__(self, phase: str, batch: int, folder: Path | None = None):
        threads = str(torch.get_num_threads())
        found = {'PYTHONPATH': str(folder)} if folder else {}
        self.process: Any = subprocess.Popen(
            [sys.executable, str(WORKER), phase, '--batch', str(batch), '--threads', threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **found},
        )
        self._answer('ready')

    def run(self, iterations: int) -> None:
        """Run some iterations; on a GPU only the last is waited for."""
        self.process.stdin.write(f'{iterations}\n')
        self.process.stdin.flush()
        self._answer('done')

    def step(self) -> None:
        """Run one iteration."""
        self.run(1)

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it has ended before, with a request unread
            self.process.stdin.close()
        self.process.wait()

    def _answer(self, expected: str) -> None:
        said = self.process.stdout.readline().strip()
        if said != expected:
            raise UserError(
                'torchdistill: its process ended; look above why (--no-torchdistill of make bench omits it).'
            )
