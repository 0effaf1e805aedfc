#!/usr/bin/env python3
"""Measure what mmkd costs by parts: start, loading, methods, iterations, host, kept features, bfloat16, compiling."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

import compiled
import device_lines
import histories
import host
import iteration_tables
import iterations
import kept_features
import loading
import methods
import precision
import startup
import verification
from benchmark_page import Page
from measuring import GPU
from pairs import PAIRS
from surroundings import surroundings
from torchdistill_process import install

from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError

METHODS = ('SSKD', 'KD', 'MHKD')
SHORT = {'startup': startup, 'loading': loading, 'histories': histories, 'verification': verification}
METHODS_OF = {'methods': methods.CLASSIFIERS, 'detectors': methods.DETECTORS}
OF_A_PAIR = {'kept': kept_features, 'precision': precision, 'compiled': compiled}
TABLES = {
    'startup': startup.table,
    'loading': loading.table,
    'histories': histories.table,
    'verification': verification.table,
    **{part: methods.table(part) for part in METHODS_OF},
    'iterations': iteration_tables.table,
    'host': host.table,
    'kept': kept_features.table,
    'precision': precision.table,
    'compiled': compiled.table,
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'some of: {", ".join(TABLES)} [all]')
    parser.add_argument('--pairs', nargs='+', choices=PAIRS, default=list(PAIRS), metavar='PAIR', help='[all]')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS, help='of iterations and host [all]')
    parser.add_argument('--rounds', action=WholeNumber, least=2, default=8, help='that count [8]')
    parser.add_argument('--no-torchdistill', action='store_true', help='do not install and run it')
    parser.add_argument('--tables', action='store_true', help='measure nothing; write the tables from the .json anew')
    parser.add_argument('--add', type=Path, metavar='FILE', help='measure nothing; add what device_run.sh measured')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'benchmarks.md', help='[docs/benchmarks.md]')
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in TABLES]:
        raise UserError(f'{unknown[0]} is no part; take some of: {", ".join(TABLES)}.')
    if args.add:
        device_lines.add(args.add, args.out.resolve(), TABLES)
        return
    page = Page(args.out.resolve(), TABLES, 'gpu' if GPU else 'cpu')
    if args.tables:
        page.write_tables()
        return
    os.chdir(ROOT)
    here = dict(**surroundings(), rounds=args.rounds)  # before the page is written, which changes the working tree
    for part in [part for part in TABLES if part in (args.parts or TABLES)]:  # parts that may fail come first
        for rows in filter(None, measured(part, args)):
            page.add(part, [{**row, **here} for row in rows])
            print(f'{part}: wrote {page.path}', flush=True)


def measured(part: str, args: Namespace) -> Iterator[list[dict]]:
    """Measure a part and yield its rows one by one."""
    if part in SHORT:
        yield SHORT[part].measure(args.rounds)
        return
    if part in METHODS_OF:
        yield from methods.measure(args.rounds, METHODS_OF[part])
        return
    if part == 'host':
        for name, pair in host.PAIRS.items():
            for method in args.methods:
                yield host.measure(name, pair, method, args.rounds)
        return
    torchdistill_at = None if args.no_torchdistill else Path('work_dirs/torchdistill').resolve()
    if torchdistill_at and part == 'iterations':
        install(torchdistill_at)
    for name in args.pairs:
        if part == 'iterations':
            for method in args.methods:
                yield iterations.measure(name, PAIRS[name], method, args.rounds, torchdistill_at)
        else:
            yield OF_A_PAIR[part].measure(name, PAIRS[name], args.rounds)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
