#!/usr/bin/env python3
"""Train many networks side by side on one GPU until the time is up, and write a line for each."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'benchmark'), str(HERE.parents[1])]

import torch
from gpu_sharing import shared_gpu
from jobs_file import Job, read_jobs
from lines import Lines, first_line
from outcome import outcome_of
from results import run_grid
from surroundings import surroundings
from training import FAILED, command

from mmkd.errors import UserError

GRACE = 8.0  # seconds in which a training may leave at a signal


class Runs:
    """Runs jobs until the time is up.

    Args:
        lines: Where their outcomes go.
        deadline: On the monotonic clock.
        kept: Folder for the networks that are to be kept.
    """

    def __init__(self, lines: Lines, deadline: float, kept: Path):
        self.lines, self.deadline, self.kept = lines, deadline, kept

    def __call__(self, job: Job) -> str:
        """One training: what came out, or why nothing did."""
        begin, cores = time.time(), 0.0
        try:
            state, cores = self._state(job)
            told = outcome_of(job.folder, job.metric)
            if state == 'finished' and job.keep:
                self._keep(job)
        except Exception as error:  # a thread's error would end the others
            state, told = f'{FAILED}: {first_line(error)}', {}
        made = dict(config=str(job.config), seed=job.seed, teacher=job.teacher and job.teacher.name)
        seconds = round(time.time() - begin, 1)
        spent = dict(seconds=seconds, core_seconds=round(cores, 1))
        self.lines.add(name=job.name, state=state, **spent, **told, **made, options=job.options_)
        return f'{state}, {job.metric} {told.get("last")}'

    def _state(self, job: Job) -> tuple[str, float]:
        """How it went, and the processor's seconds that it took."""
        if time.monotonic() >= self.deadline:
            return 'not run: the time was up', 0.0
        if job.teacher and not (job.teacher.checkpoint and (job.teacher.folder / 'finished').is_file()):
            return f'not run: its teacher {job.teacher.name} is not finished', 0.0
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / 'console.log').open('w') as log:
            process = subprocess.Popen(command(job), stdout=log, stderr=log)
            code, cores = _awaited(process, self.deadline)
        if code is None:
            return 'cut: the time was up', cores
        if code:
            return f'{FAILED} with {code}: {_last_line(job.folder / "console.log")}', cores
        (job.folder / 'finished').touch()
        return 'finished', cores

    def _keep(self, job: Job) -> None:
        saved = torch.load(job.checkpoint, map_location='cpu', weights_only=False)
        torch.save(dict(state_dict=saved['state_dict']), self.kept / f'{job.name}.pth')


def _awaited(process: subprocess.Popen, deadline: float) -> tuple[int | None, float]:
    """The exit code, None if the time was up, and the processor's seconds of the process."""
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() >= deadline:
            _leave(process)
            return None, 0.0
        time.sleep(0.2)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def _leave(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors='replace').strip().splitlines()
    return lines[-1][:300] if lines else 'nothing in its log'


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for grid.jsonl and the networks that are kept')
    parser.add_argument('--seconds', type=float, default=600, help='until everything that runs is ended [600]')
    parser.add_argument('--jobs', type=Path, help='a Python file with JOBS')
    parser.add_argument('--at-once', type=int, default=12, help='trainings side by side [12]')
    parser.add_argument('--data', nargs='+', default=[], metavar='NAME=PATH', help='where data sets of the jobs lie')
    parser.add_argument('--dry-run', action='store_true', help='two trainings of an epoch on a few digits')
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ['OMP_NUM_THREADS'] = '1'
    path = HERE / 'jobs' / 'dry_run.py' if args.dry_run else args.jobs
    if path is None:
        raise UserError('grid: say what to train with --jobs FILE.')
    places = dict(place.split('=', 1) for place in args.data)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, shared_gpu() as mps:
        jobs = read_jobs(path, Path(folder), places)
        where = dict(at_once=args.at_once, mps=mps, **surroundings())
        runs = Runs(Lines(args.out / 'grid.jsonl', where), deadline, args.out)
        failed = run_grid(jobs, args.at_once, runs)
    if failed:
        raise UserError('; '.join(failed))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
