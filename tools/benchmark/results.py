#!/usr/bin/env python3
"""Train students alone and distilled on CIFAR-100, go on where it was interrupted, and write docs/results.md."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from cells import METHODS, ROOT, Cell
from protocols import PROTOCOLS, Protocol
from report import write_report
from training import FAILED, run_cell

from mmkd.errors import UserError


def plan(protocol: Protocol, pairs: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """The trainings of a grid, seed by seed, after their teachers."""
    cells = [Cell(protocol, pair, method, seed) for seed in seeds for pair in pairs for method in methods]
    teachers = {cell.teacher: None for cell in cells if cell.teacher and (ROOT / cell.config).is_file()}
    return [*teachers, *cells]


def run_grid(cells: Sequence[Cell], jobs: int, run: Callable[[Cell], str] = run_cell) -> list[str]:
    """Run trainings side by side, each after its teacher; print how each went and return what failed."""
    waiting, failed = list(cells), []
    running: dict[Future, Cell] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            for cell in [cell for cell in waiting if cell.teacher not in unfinished]:
                waiting.remove(cell)
                running[pool.submit(run, cell)] = cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = f'{running.pop(future).folder} {future.result()}'
                print(outcome, flush=True)
                failed += [outcome] if FAILED in outcome else []
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def main() -> None:
    common = PROTOCOLS['common']
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--protocol', choices=PROTOCOLS, default='short', help='[short]')
    parser.add_argument('--pairs', nargs='+', choices=common.pairs, metavar='PAIR', help="[the protocol's]")
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS), metavar='METHOD', help='[all]')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help="[the protocol's]")
    parser.add_argument('--jobs', type=int, default=1, help='trainings side by side [1]')
    parser.add_argument('--write-only', action='store_true', help='train nothing')
    parser.add_argument('--out', type=Path, default=Path('docs/results.md'), help='[docs/results.md]')
    args = parser.parse_args()
    protocol = PROTOCOLS[args.protocol]
    failed = []
    if not args.write_only:
        os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
        protocol.prepare()
        failed = run_grid(
            plan(protocol, args.pairs or protocol.pairs, args.methods, args.seeds or protocol.seeds), args.jobs
        )
    write_report(args.out)
    print(f'wrote {args.out}')
    if failed:
        raise UserError('; '.join(failed))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
