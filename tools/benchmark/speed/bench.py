#!/usr/bin/env python3
"""Measure what mmkd costs, part by part: its start, loading, iterations against others, kept features, compiling."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

import compiled
import iterations
import kept_features
import loading
import startup
import tables
from foreign import install
from page import Page
from pairs import PAIRS
from surroundings import surroundings

from mmkd.errors import UserError

METHODS = ('SSKD', 'KD', 'MHKD')
TABLES = {
    'startup': startup.table,
    'loading': loading.table,
    'iterations': tables.table,
    'kept': kept_features.table,
    'compiled': compiled.table,
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'some of: {", ".join(TABLES)} [all]')
    parser.add_argument('--pairs', nargs='+', choices=PAIRS, default=list(PAIRS), metavar='PAIR', help='[all]')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS, help='of the iterations [all]')
    parser.add_argument('--rounds', type=int, default=8, help='that count [8]')
    parser.add_argument('--no-torchdistill', action='store_true', help='do not install and run it')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'benchmarks.md', help='[docs/benchmarks.md]')
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in TABLES]:
        raise UserError(f'{unknown[0]} is no part; take some of: {", ".join(TABLES)}.')
    if args.rounds < 2:
        raise UserError('--rounds: quartiles need 2 or more.')
    page = Page(args.out.resolve(), TABLES)
    os.chdir(ROOT)
    parts, rounds = args.parts or list(TABLES), args.rounds
    pairs = {name: PAIRS[name] for name in args.pairs}
    foreign = Path('work_dirs/torchdistill').resolve()
    if 'iterations' in parts and not args.no_torchdistill:
        install(foreign)
    measures = {
        'startup': lambda: startup.measure(rounds),
        'loading': lambda: loading.measure(rounds),
        'iterations': lambda: iterations.measure(
            pairs, args.methods, rounds, None if args.no_torchdistill else foreign
        ),
        'kept': lambda: kept_features.measure(pairs, rounds),
        'compiled': lambda: compiled.measure(pairs, rounds),
    }
    here = surroundings()  # before the page is written: that is a change, too
    for part in parts:
        page.add(part, dict(**here, rounds=rounds, rows=measures[part]()))
        print(f'wrote {page.path}', flush=True)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
