"""One training, once and whole: begun, gone on with, or left if it is finished."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from arena import ROOT, WORK_DIR, Training
from outcome import outcome_of
from results import CUT, DIVERGED, FAILED, FINISHED, Results

from mmkd.checkpoints.preemption import SIGNALS

GRACE = 8.0  # seconds in which a training may leave at a signal
AT_A_SIGNAL = {code for number in SIGNALS for code in (-number, 128 + number)}  # exit codes


def command(training: Training) -> list[str]:
    """What trains it. Paths in options begin here: mmengine would cut the folders above at their commas."""
    options = [f'{key}={value}'.replace(f'{Path.cwd()}/', '') for key, value in training.options().items()]
    program = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(training.config)]
    return [*program, '--work-dir', str(training.folder), '--resume', '--cfg-options', *options]


class Trainer:
    """Runs trainings until the time is up, and writes a line for each.

    Args:
        results: Where the lines go.
        deadline: On the monotonic clock; :meth:`end` brings it forward.
        command: What trains.
    """

    def __init__(
        self, results: Results, deadline: float = float('inf'), command: Callable[[Training], list[str]] = command
    ):
        self.results, self.deadline, self.command = results, deadline, command

    def end(self) -> None:
        """The time is up now."""
        self.deadline = min(self.deadline, time.monotonic())

    def is_finished(self, training: Training) -> bool:
        """Whether its result is there; of one that is a teacher, its network too."""
        is_teacher = any(row.teacher == training.row.key for row in training.arena.rows.values())
        state = self.results.read().get(training.name, {}).get('state')
        return state == FINISHED and not (is_teacher and training.checkpoint is None)

    def __call__(self, training: Training) -> str:
        """Run it if that is still to be done; say how it went."""
        if self.is_finished(training):
            return 'is finished'
        if self.results.read().get(training.name, {}).get('state') == DIVERGED:
            return f'has diverged; without its line in {self.results.path} it is trained again'
        if time.monotonic() >= self.deadline:
            return 'is not run: the time is up'
        if training.teacher and not self.is_finished(training.teacher):
            return f'is not run: its teacher {training.teacher.name} is not finished'
        training.folder.mkdir(parents=True, exist_ok=True)
        with (training.folder / 'lock').open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 'is left alone: another process trains it'
            return 'is finished' if self.is_finished(training) else self._run(training, lock.fileno())

    def _run(self, training: Training, lock: int) -> str:
        if changed := _changed(training):
            return f'{FAILED}: it was begun with another {", ".join(changed)}; remove {training.folder} to begin anew'
        costs = Costs(training.folder)
        training.unfinished.touch()
        begin = time.time()
        with (training.folder / 'console.log').open('a') as log:
            process = subprocess.Popen(self.command(training), stdout=log, stderr=log, pass_fds=[lock])
            code, cores = awaited(process, lambda: self.deadline)
        costs.add(time.time() - begin, cores)
        told = outcome_of(training.folder, training.arena.metric, training.arena.also)
        state = _state(code, told, training.folder / 'console.log')
        if state == FINISHED:
            training.unfinished.unlink()
        options = {key: without_place(str(value)) for key, value in training.options().items()}
        made = dict(config=training.row.config, seed=training.seed, options=options)
        self.results.add(name=training.name, state=state, **told, **costs.total(), **made)
        return f'{state}, {training.arena.metric} {told.get("last")}'


def without_place(value: str) -> str:
    """An option without the folders above the work dirs, wherever they are or were."""
    return re.sub(rf'/[^\s\'"]*?(?={WORK_DIR}/)', '', value).replace(f'{Path.cwd()}/', '')


class Costs:
    """The seconds that a training has taken so far, over all the processes that worked on it."""

    def __init__(self, folder: Path):
        self.path = folder / 'costs.json'
        self.spent = json.loads(self.path.read_text()) if self.path.is_file() else []
        self.path.write_text(json.dumps([*self.spent, None]))  # stays if this process is killed

    def add(self, seconds: float, cores: float) -> None:
        """One more process has ended."""
        self.spent.append([seconds, cores])
        self.path.write_text(json.dumps(self.spent))

    def total(self) -> dict[str, float | None]:
        """Seconds, and seconds of the processor; None where a process was killed before it could tell."""
        if None in self.spent:
            return dict(seconds=None, core_seconds=None)
        seconds, cores = (round(sum(each), 1) for each in zip(*self.spent))
        return dict(seconds=seconds, core_seconds=cores)


def _changed(training: Training) -> list[str]:
    """The options that are others than when it was begun."""
    path, options = training.folder / 'begun.json', json.loads(json.dumps(training.options()))
    begun = json.loads(path.read_text()) if path.is_file() else options
    path.write_text(json.dumps(begun, indent=1) + '\n')
    return sorted(key for key in begun.keys() | options.keys() if begun.get(key) != options.get(key))


def _state(code: int | None, told: dict, log: Path) -> str:
    lines = log.read_text(errors='replace').strip().splitlines() or ['nothing in its log']
    if code is None or code in AT_A_SIGNAL or (code and lines[-1] == 'KeyboardInterrupt'):
        return CUT
    if code:
        return DIVERGED if 'is NaN or infinite' in lines[-1] else f'{FAILED} with {code}: {lines[-1][:300]}'
    if 'loss' not in told.get(
        'losses', {'loss': 0.0}
    ):  # only finite losses are told; a baseline does not stop at others
        return DIVERGED
    return FINISHED if 'last' in told else f'{FAILED}: it was never validated'


def awaited(process: subprocess.Popen, deadline: Callable[[], float]) -> tuple[int | None, float]:
    """The exit code, None if the time was up, and the processor's seconds of the process."""
    cut = False
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        late = time.monotonic() - deadline()
        if late >= GRACE:
            process.kill()
        elif late >= 0 and not cut:
            process.terminate()
            cut = True
        time.sleep(0.2)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return None if cut else process.returncode, used.ru_utime + used.ru_stime
