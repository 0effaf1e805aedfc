#!/usr/bin/env python3
"""Use a GPU for a few minutes: checks, speed, and trainings. Called by tools/device_run.sh."""

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / 'benchmark')]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from lines import Lines
from machine import check_gpu, description
from surroundings import surroundings

from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError

LIMITS = {'checks': 100.0, 'speed': 160.0, 'arena': float('inf')}  # seconds
PROGRAMS = dict(checks=HERE / 'checks.py', speed=HERE / 'speed.py', arena=HERE.parent / 'arenas' / 'run.py')
DRY_RUN = HERE / 'dry_run.py'  # an arena
RUNNING: set[subprocess.Popen] = set()  # the programs of steps
GRACE = 15.0  # seconds that a step may take to end properly


def main() -> None:
    parser = ArgumentParser(prog='tools/device_run.sh', description=__doc__)
    parser.add_argument('steps', nargs='*', metavar='STEP', help=f'some of: {", ".join(LIMITS)}, in their order [all]')
    parser.add_argument('--minutes', type=float, default=9.0, help='for all of it [9]')
    parser.add_argument('--dry-run', action='store_true', help='every step at a tiny size, on the CPU')
    default = os.environ.get('OUT', 'work_dirs/device')
    parser.add_argument('--out', type=Path, default=Path(default), help='[$OUT, or work_dirs/device]')
    parser.add_argument(
        '--arena', default='cifar100_quick', help='a name of tools/arenas/catalogue, or a Python file [%(default)s]'
    )
    parser.add_argument('--rows', nargs='+', default=[], metavar='ROW', help='of the arena [all]')
    parser.add_argument('--seeds', nargs='+', default=[], metavar='SEED', help="[the arena's]")
    parser.add_argument('--at-once', action=WholeNumber, of='trainings', default=12, help='trainings side by side [12]')
    args = parser.parse_args()
    if unknown := [step for step in args.steps if step not in LIMITS]:
        raise UserError(f'{unknown[0]} is no step; take some of: {", ".join(LIMITS)}.')
    steps = args.steps or list(LIMITS)
    if args.dry_run:
        os.environ.update(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    else:
        check_gpu()
    out = args.out.resolve()
    lines = Lines(out / 'steps.jsonl')
    lines.add(**surroundings(), **description(), steps=steps, minutes=args.minutes, dry_run=args.dry_run)
    deadline = time.monotonic() + 60 * args.minutes
    run = partial(run_step, args=args, out=out, lines=lines, deadline=deadline)
    with ThreadPoolExecutor() as pool:
        each = pool.map if args.dry_run else map  # where they measure nothing, they run side by side
        try:
            failed = [step for step, went_well in zip(steps, each(run, steps)) if not went_well]
        except BaseException:
            for process in list(RUNNING):  # other threads wait for them
                end_group(process)
            raise
    print(f'wrote {out}')
    if failed:
        sys.exit(f'error: not everything went well: {", ".join(failed)}; see {out}')


def run_step(step: str, args: Namespace, out: Path, lines: Lines, deadline: float) -> bool:
    """Run a step as a separate program: if it fails or takes too long, the next step runs all the same."""
    start = time.monotonic()
    limit = float('inf') if args.dry_run else LIMITS[step]
    seconds = min(limit, deadline - start) - GRACE
    if seconds < GRACE:
        lines.add(step=step, outcome='not run', reason='no time was left')
        print(f'{step}: not run, no time was left', flush=True)
        return False
    command = [sys.executable, str(PROGRAMS[step]), '--out', str(out)]
    if step != 'checks':
        command += ['--seconds', f'{seconds:.0f}']
    if step == 'arena':
        command += [str(DRY_RUN) if args.dry_run else args.arena, '--at-once', str(args.at_once)]
        command += ['--rows', *args.rows] if args.rows else []
        command += ['--seeds', *args.seeds] if args.seeds else []
    elif args.dry_run:
        command += ['--dry-run']
    print(f'{step}: at most {seconds:.0f} s', flush=True)
    outcome = ended(command, out / f'{step}.log', seconds + GRACE)
    took = round(time.monotonic() - start, 1)
    lines.add(step=step, outcome=outcome, seconds=took)
    print(f'{step}: {outcome} after {took} s', flush=True)
    return outcome == 'done'


def ended(command: list[str], log: Path, limit: float) -> str:
    """Run a program and everything that it starts, and describe how it ended."""
    with log.open('w') as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        RUNNING.add(process)
        try:
            return 'done' if process.wait(limit) == 0 else f'failed with {process.returncode}'
        except subprocess.TimeoutExpired:
            return 'cut: it took too long'
        finally:
            end_group(process)
            RUNNING.discard(process)


def end_group(process: subprocess.Popen) -> None:
    """End what remains of a program and of what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
