"""Trainings by tools/train.py in their own processes, and the faults that hit them."""

import contextlib
import multiprocessing
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

EPOCHS, LENGTH = 6, 4
START = '=== a process begins ===\n'

CONFIG = f"""
_base_ = '{ROOT}/configs/sskd/sskd_resnet18-w32_resnet18-w16_digits.py'
model = dict(
    student=dict(backbone=dict(stem_channels=8, base_channels=8), head=dict(in_channels=64)),
    teacher=dict(checkpoint='TEACHER'))
train_cfg = dict(max_epochs={EPOCHS})
train_dataloader = dict(batch_size=16, dataset=dict(indices=64), persistent_workers=False)
val_dataloader = dict(dataset=dict(indices=40))
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(max_keep_ckpts=2),
    stages=dict(stages=['layer2', 'layer4', 'head'], lengths=[2, 2, 2], score_teacher=False))
"""


def write_config(folder: Path) -> Path:
    """Write the config, and a teacher with random weights."""
    import torch
    from mmpretrain import get_model

    from mmkd.utils.configs import load_config

    torch.manual_seed(1)
    teacher = get_model(load_config('mmkd::baselines/resnet18-w32_digits.py'), pretrained=False)
    torch.save(teacher.state_dict(), folder / 'teacher.pth')
    (folder / 'config.py').write_text(CONFIG.replace('TEACHER', str(folder / 'teacher.pth')))
    return folder / 'config.py'


@dataclass
class Training:
    """A training that can be stopped and resumed."""

    config: Path
    work_dir: Path
    options: tuple[str, ...] = ()
    length: int = LENGTH  # iterations per epoch

    def __post_init__(self):
        self.output = self.work_dir.with_suffix('.txt')

    def start(self, *faults: Callable[[], None]):
        """Start a process that resumes if possible, with these faults ahead."""
        options = ('--cfg-options', *self.options) if self.options else ()
        args = [str(self.config), '--work-dir', str(self.work_dir), '--resume', *options]
        with self.output.open('a') as file:
            file.write(START)
        return forked.start(ROOT / 'tools' / 'train.py', args, self.output, faults)

    def run(self, *faults: Callable[[], None]) -> int:
        """The exit code; if a signal ended the process, minus its number."""
        process = self.start(*faults)
        process.join(300)
        assert process.exitcode is not None, self.text()
        return process.exitcode

    def text(self) -> str:
        """What the training has written to its terminal since the first start."""
        return self.output.read_text()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the pointer names."""
        return Path((self.work_dir / 'last_checkpoint').read_text())

    def weights(self) -> dict[str, bytes]:
        """The student's weights at the end of the training."""
        from mmkd.checkpoints.safe_load import load_checkpoint

        state = load_checkpoint(str(self.work_dir / f'epoch_{EPOCHS}.pth'), logger='silent')['state_dict']
        return {name: tensor.numpy().tobytes() for name, tensor in state.items()}

    def repeated(self) -> int:
        """Iterations that the last process repeated: those logged before it began, minus those where it resumed."""
        *_, before, now = ['', *self.text().split(START)]
        done = re.findall(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/', before)
        last = (int(done[-1][0]) - 1) * self.length + int(done[-1][1]) if done else 0
        resumed = re.search(r'resumed epoch: \d+, iter: (\d+)', now)
        return max(0, last - (int(resumed[1]) if resumed else 0))


class TwoProcesses(Training):
    """The same under torchrun, which cannot be forked: faults come from outside when the log contains a message."""

    def start(self, *faults: Callable[[], None]):
        """Start the process of torchrun; no faults are set inside."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        paths = f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}'
        environment = {**os.environ, 'PATH': paths, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PORT': port}
        tool = [ROOT / 'tools' / 'dist_train.sh', self.config, '2', '--work-dir', self.work_dir, '--resume']
        with open(self.output, 'ab', buffering=0) as file:
            file.write(START.encode())
            return subprocess.Popen(tool, env=environment, stdout=file, stderr=subprocess.STDOUT)

    def run(self, *faults: Callable[[], None]) -> int:
        """The exit code of torchrun."""
        return self.start().wait(300)

    def until(self, said: str) -> None:
        """Wait until the first process logs the message."""
        end = time.monotonic() + 300
        while said not in self.text().rpartition(START)[2]:
            assert time.monotonic() < end, self.text()
            time.sleep(0.01)


def ranks(torchrun) -> list[int]:
    """The processes that torchrun started, the first rank first."""
    found = {}
    for path in Path('/proc').glob('[0-9]*/environ'):
        with contextlib.suppress(OSError):
            variables = dict(line.partition('=')[::2] for line in path.read_bytes().decode().split('\0'))
            if 'RANK' in variables and f'PPid:\t{torchrun.pid}\n' in (path.parent / 'status').read_text():
                found[int(variables['RANK'])] = int(path.parent.name)
    return [pid for _, pid in sorted(found.items())]


def wait_for_end(pids: list[int]) -> None:
    """Wait for processes that are not children of this one."""
    end = time.monotonic() + 60
    while any(Path(f'/proc/{pid}').exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def at_iteration(iteration: int, happen: Callable[[], None]) -> None:
    """Raised during an iteration, after the loss is computed."""
    from mmengine.optim import OptimWrapper

    update, calls = OptimWrapper.update_params, []

    def watched(self, loss, *args, **kwargs):
        calls.append(1)
        if len(calls) == iteration:
            happen()
        update(self, loss, *args, **kwargs)

    OptimWrapper.update_params = watched


def at_boundary(stage: int, happen: Callable[[], None]) -> None:
    """Hits when one stage has ended and the next is being set up."""
    from mmkd.schedule import hook as stage_schedule

    set_up, calls = stage_schedule.set_up, []

    def watched(*args):
        calls.append(1)
        if len(calls) == stage:
            happen()
        set_up(*args)

    stage_schedule.set_up = watched


def while_writing(count: int, happen: Callable[[], None]) -> None:
    """Hits when half of a checkpoint, or of the pointer to it, is on the disk."""
    fsync, calls = os.fsync, []

    def watched(handle):
        calls.append(1)
        if len(calls) == count:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            happen()
        fsync(handle)

    os.fsync = watched


def fill_disk() -> None:
    """From now on no file of this process may become larger than its log is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def fill(folder: Path) -> None:
    """From now on the disk of this folder is full, also for other processes."""
    with contextlib.suppress(OSError), open(folder / 'filler', 'wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A separate disk, which needs root; skip the test where it cannot be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder], capture_output=True, timeout=60
    )
    if mounted.returncode:
        pytest.skip('no disk can be mounted here')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True, timeout=60)


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)


def remove(path: Path) -> None:
    path.unlink()


def after_a_while(process, longest: float, number: int, draw: random.Random) -> None:
    """Sent from outside at a random moment."""
    time.sleep(draw.uniform(0, longest))
    if process.is_alive():
        os.kill(process.pid, number)


def a(fault: Callable, when: int, happen: Callable = kill, *args) -> Callable[[], None]:
    """A fault that a process can be sent."""
    return partial(fault, when, partial(happen, *args) if args else happen)
