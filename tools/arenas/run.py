#!/usr/bin/env python3
"""Train what an arena compares, go on where it was interrupted, and write the pages that show it."""

import os
import shutil
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'benchmark'), str(HERE.parents[1])]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from arena import ROOT, Arena, Training, arenas, read_arena
from gains import gains_of, write_table
from glance import write_glance
from gpu_sharing import shared_gpu
from ours import write_column
from page import results_of, write_pages
from picture import write_picture
from results import FAILED, FINISHED, Results, file_of
from surroundings import surroundings
from training import Trainer

from mmkd.checkpoints.atomic_files import check_folder
from mmkd.checkpoints.preemption import SIGNALS
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError

RESULTS = ROOT / 'docs' / 'arenas'


def run_side_by_side(trainings: Sequence[Training], at_once: int, run: Trainer) -> list[str]:
    """Run trainings side by side, each after its teacher; print how each went and return what failed."""
    waiting, failed = list(trainings), []
    running: dict[Future, Training] = {}
    pool = ThreadPoolExecutor(at_once)
    try:
        while waiting or running:
            unfinished = {training.name for training in (*waiting, *running.values())}
            for training in list(waiting):
                if training.teacher is None or training.teacher.name not in unfinished:
                    waiting.remove(training)
                    running[pool.submit(run, training)] = training
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = f'{running.pop(future).name} {future.result()}'
                print(outcome, flush=True)
                failed += [outcome] if FAILED in outcome else []
    except SystemExit:  # at a signal
        run.end()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def overview() -> str:
    """The arenas, and how much of each is done."""
    lines = []
    for name in arenas():
        arena = read_arena(name)
        wanted = {training.name for training in arena.trainings()}
        found = results_of(arena, RESULTS).values()
        done = len(wanted & {key for results in found for key in results if results[key]['state'] == FINISHED})
        lines.append(f'{name:<20} {done:>3} of {len(wanted):>3} trainings are there: {arena.title}')
    return '\n'.join(lines)


def keep_teachers(arena: Arena, trainings: Sequence[Training], folder: Path) -> None:
    """Copy the checkpoints of the teachers, where the work dirs do not stay."""
    teachers = {training.teacher.name: training.teacher for training in trainings if training.teacher}
    for teacher in teachers.values():
        if teacher.checkpoint:
            shutil.copyfile(teacher.checkpoint, folder / f'{arena.name}_{teacher.name}.pth')


def leave(number: int, frame: object) -> NoReturn:
    """Leave at a signal, and ignore others meanwhile: what is trained needs some seconds to end."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    said = 'the trainings are cut; the same command goes on with them.'
    os.write(2, f'{signal.Signals(number).name}: {said}\n'.encode())
    sys.exit(128 + number)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('arena', nargs='?', help=f'one of {", ".join(arenas())}, or a Python file [say what is done]')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='[all]')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help="[the rows']")
    parser.add_argument('--at-once', action=WholeNumber, of='trainings', default=1, help='trainings side by side [1]')
    parser.add_argument('--seconds', type=float, default=float('inf'), help='until everything that runs is ended')
    parser.add_argument('--out', type=Path, help='write results and teachers there, and no page')
    args = parser.parse_args()
    if args.out:
        check_folder('--out', args.out, 'name another folder')
    for number in SIGNALS:
        signal.signal(number, leave)
    failed = []
    if args.arena:
        deadline = time.monotonic() + args.seconds
        arena = read_arena(args.arena)
        trainings = arena.trainings(args.rows, args.seeds)
        arena.prepare()
        os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.at_once)))
        with shared_gpu() as mps:
            where = dict(at_once=args.at_once, mps=mps, **surroundings())
            results = Results(file_of(args.out or RESULTS, where['device'], arena.name), where)
            failed = run_side_by_side(trainings, args.at_once, Trainer(results, deadline))
        if args.out:
            keep_teachers(arena, trainings, args.out)
    if not args.out:
        write_pages(RESULTS, ROOT / 'docs')
        gains = gains_of(RESULTS)
        write_picture(gains, ROOT / 'docs' / 'pictures' / 'gains.svg')
        write_table(gains, ROOT / 'README.md')
        write_glance(RESULTS, ROOT / 'docs' / 'choose.md')
        write_column(RESULTS, ROOT / 'docs' / 'methods.md')
        print(overview())
    if failed:
        raise UserError('; '.join(failed))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
