#!/usr/bin/env python3
"""Measure what an iteration of every method costs, against the floor, running everything, and torchdistill."""

import gc
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from foreign import TorchDistill, install
from loading import seconds_of_an_epoch
from measuring import GPU, alternate, peak_bytes
from pairs import PAIRS, Pair
from product import Product
from rivals import Floor, RunEverything
from surroundings import surroundings
from tables import around, write

from mmkd.errors import UserError

METHODS = ('SSKD', 'KD', 'MHKD')
FOREIGN = {('SSKD', 'layer2'): 'layer2', ('KD', 'all'): 'kd'}  # what torchdistill can do, too, of the first pair


def measure(product: Product, phase: str, rounds: int, others: dict[str, TorchDistill]) -> dict:
    """Seconds of each competitor in each round, and bytes, of one phase."""
    product.enter(phase)
    floor, everything = Floor(product), RunEverything(product)
    distiller = product.distiller
    steps = {'mmkd': product.step, 'floor': floor.step, 'run everything': everything.step}
    seconds = alternate({**steps, **{name: other.step for name, other in others.items()}}, rounds)
    trained = distiller.student, distiller.teacher.network, distiller.extras
    those = everything.student, everything.teacher, everything.extras
    memory = {
        'mmkd': peak_bytes(product.step, product.optimizer, *trained),
        'run everything': peak_bytes(everything.step, everything.optimizer, *those),
    }
    return dict(phase=phase, seconds=seconds, bytes=memory)


def measure_pair(name: str, pair: Pair, methods: Sequence[str], rounds: int, foreign: Path | None) -> list[dict]:
    """Every phase of every method."""
    rows = []
    batch = pair.batch[GPU]
    for method in methods:
        with tempfile.TemporaryDirectory() as work_dir:
            heads = dict(heads=pair.heads) if method == 'MHKD' else {}
            product = Product(pair, method, Path(work_dir), batch, channels_last=True, **heads)
            for phase in product.phases:
                asked = FOREIGN.get((method, phase)) if foreign and pair is next(iter(PAIRS.values())) else None
                others = {'torchdistill': TorchDistill(foreign, asked, batch)} if foreign and asked else {}
                row = measure(product, phase, rounds, others)
                for other in others.values():
                    other.close()
                rows.append(dict(pair=name, size=pair.size, batch=batch, method=method, **row))
                medians = {who: f'{sorted(s)[len(s) // 2]:.3f} s' for who, s in row['seconds'].items()}
                print(name, method, phase, medians, flush=True)
            del product
            gc.collect()
    return rows


def measure_compiled(name: str, pair: Pair, methods: Sequence[str], rounds: int) -> list[dict]:
    """Every phase of every method, compiled and not."""
    rows = []
    batch = pair.batch[GPU]
    for method in methods:
        with tempfile.TemporaryDirectory() as work_dir:
            os.environ['TORCHINDUCTOR_CACHE_DIR'] = f'{work_dir}/compiled'  # as on a machine's first run
            heads = dict(heads=pair.heads) if method == 'MHKD' else {}
            begins = [time.perf_counter()]
            products = []
            for compiled in (False, True):
                products.append(
                    Product(pair, method, Path(work_dir), batch, channels_last=True, compile=compiled, **heads)
                )
                begins.append(time.perf_counter())
            plain, compiled_one = products
            start = (begins[2] - begins[1]) - (begins[1] - begins[0])
            for phase in plain.phases:
                plain.enter(phase)
                begin = time.perf_counter()
                compiled_one.enter(phase)
                first = time.perf_counter() - begin
                seconds = alternate({'mmkd': plain.step, 'compiled': compiled_one.step}, rounds)
                row = dict(phase=phase, seconds=seconds, start=start, first=first)
                rows.append(dict(pair=name, size=pair.size, batch=batch, method=method, **row))
                print(
                    name,
                    method,
                    phase,
                    {who: f'{sorted(s)[len(s) // 2]:.3f} s' for who, s in seconds.items()},
                    flush=True,
                )
    return rows


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--pairs', nargs='+', choices=PAIRS, default=list(PAIRS), metavar='PAIR', help='[all]')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS, help='[all]')
    parser.add_argument('--rounds', type=int, default=10, help='iterations of each that count [10]')
    parser.add_argument('--no-torchdistill', action='store_true', help='do not install and run it')
    parser.add_argument('--compile', action='store_true', help='measure model.compile=True against mmkd without it')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'benchmarks.md', help='[docs/benchmarks.md]')
    args = parser.parse_args()
    if args.rounds < 2:
        raise UserError('--rounds: quartiles need 2 or more.')
    kind, page = ('gpu' if GPU else 'cpu') + '-compiled' * args.compile, args.out.resolve()
    around(page, kind)
    os.chdir(ROOT)
    if args.compile:
        rows = [row for name in args.pairs for row in measure_compiled(name, PAIRS[name], args.methods, args.rounds)]
        finish(page, kind, dict(**surroundings(), rounds=args.rounds, rows=rows))
        return
    foreign = None if args.no_torchdistill else Path('work_dirs/torchdistill').resolve()
    if foreign:
        install(foreign)
    rows = []
    for name in args.pairs:
        rows += measure_pair(name, PAIRS[name], args.methods, args.rounds, foreign)
    loading = seconds_of_an_epoch(args.rounds)
    finish(page, kind, dict(**surroundings(), rounds=args.rounds, rows=rows, loading=loading))


def finish(page: Path, kind: str, result: dict) -> None:
    """Write the figures and the tables."""
    page.with_suffix(f'.{kind}.json').write_text(json.dumps(result, indent=1) + '\n')
    write(page, result, kind)
    print(f'wrote {page}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
