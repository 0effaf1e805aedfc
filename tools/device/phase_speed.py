"""Time and memory of every way to run a phase; what fails is told and stops nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec

import torch
from iterations import bytes_of_rival, networks, rivals_of
from lines import first_line
from measuring import GPU, in_blocks, peak_bytes, repeated
from mmkd_training import MmkdTraining
from torchdistill_process import TorchDistill


class PhaseSpeed:
    """The measurements of a phase.

    Args:
        phase: Its name.
        runs: Trainings of mmkd by way, the plain one being ``'mmkd'``.
        errors: Of the trainings that could not be built; more are added here.
    """

    def __init__(self, phase: str, runs: Mapping[str, MmkdTraining], errors: Mapping[str, str]):
        self.runs: dict[str, Callable[[int], object]] = {}  # each is told how many iterations
        self.seconds: dict[str, list[float]] = {}
        self.bytes: dict[str, int] = {}
        self.errors = dict(errors)
        self.torchdistill: TorchDistill | None = None
        for way, ours in runs.items():
            with failure_of(way, self.errors):
                ours.enter(phase)
                ours.step()  # a warm-up
                self.bytes[way] = peak_bytes(ours.step, ours.optimizer, *networks(ours.distiller))
                self.runs[way] = repeated(ours.step)

    def add_rivals(self, method: str, ours: MmkdTraining) -> None:
        """Measure also what mmkd is compared with."""
        for name, kind in rivals_of(method).items():
            with failure_of(name, self.errors):
                rival = kind(ours)
                self.bytes[name] = bytes_of_rival(rival)
                self.runs[name] = repeated(rival.step)

    def add_torchdistill(self, batch: int) -> None:
        """Measure also its KD, where it is installed; the memory of its process is not known."""
        if find_spec('torchdistill') is None:
            print('torchdistill is not installed, so it is left out (tools/device/wheels.sh brings it)', flush=True)
            return
        with failure_of('torchdistill', self.errors):
            self.torchdistill = TorchDistill('kd', batch)
            self.torchdistill.step()
            self.runs['torchdistill'] = self.torchdistill.run

    def take_times(self, rounds: int, block: float) -> None:
        """Let all take turns; one that fails has no times."""
        found = in_blocks({who: partial(self._attempt, who, run) for who, run in self.runs.items()}, rounds, block)
        self.seconds = {who: seconds for who, seconds in found.items() if who not in self.errors}

    def _attempt(self, who: str, run: Callable[[int], object], iterations: int) -> None:
        with failure_of(who, self.errors):
            run(iterations)

    def close(self) -> None:
        """End what runs beside."""
        if self.torchdistill is not None:
            self.torchdistill.close()


@contextmanager
def failure_of(who: str, errors: dict[str, str]) -> Iterator[None]:
    """Keep an error, and go on behind the block."""
    try:
        yield
    except Exception as error:
        errors.setdefault(who, first_line(error))
        if GPU:
            with suppress(RuntimeError):  # after some errors CUDA does nothing any more
                torch.cuda.empty_cache()
