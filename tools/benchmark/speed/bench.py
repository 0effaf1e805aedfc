#!/usr/bin/env python3
"""Measure what an iteration of every method costs, against the floor, running everything, and torchdistill."""

import gc
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

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
from torch import nn

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError

METHODS = ('SSKD', 'KD', 'MHKD')
MORE = 1 if GPU else 8  # times the images that are timed: with few, the memory is that of the weights
FOREIGN = {('SSKD', 'layer2'): 'layer2', ('KD', 'all'): 'kd'}  # what torchdistill can do, too, of the first pair


@contextmanager
def training(pair: Pair, method: str, batch: int, **options: bool) -> Iterator[Product]:
    """Of mmkd, as it is measured."""
    heads = dict(heads=pair.heads) if method == 'MHKD' else {}
    with tempfile.TemporaryDirectory() as work_dir:
        yield Product(pair, method, Path(work_dir), batch, channels_last=True, **options, **heads)
    gc.collect()


def measure_pair(name: str, pair: Pair, methods: Sequence[str], rounds: int, foreign: Path | None) -> list[dict]:
    """Every phase of every method."""
    rows = []
    batch = pair.batch[GPU]
    for method in methods:
        seconds = measure_seconds(name, pair, method, rounds, foreign)
        memory = measure_bytes(pair, method, batch * MORE)
        for phase in seconds:
            shared = dict(pair=name, size=pair.size, batch=batch, method=method, phase=phase)
            rows.append(dict(**shared, seconds=seconds[phase], bytes=memory[phase], images=batch * MORE))
    return rows


def measure_seconds(name: str, pair: Pair, method: str, rounds: int, foreign: Path | None) -> dict[str, dict]:
    """Of each competitor in each round, by the phases of a method."""
    found = {}
    batch = pair.batch[GPU]
    with training(pair, method, batch) as product:
        for phase in product.phases:
            product.enter(phase)
            steps = {'mmkd': product.step, 'floor': Floor(product).step, 'run everything': RunEverything(product).step}
            asked = FOREIGN.get((method, phase)) if foreign and pair is next(iter(PAIRS.values())) else None
            others = {'torchdistill': TorchDistill(foreign, asked, batch)} if foreign and asked else {}
            steps |= {other: process.step for other, process in others.items()}
            found[phase] = alternate(steps, rounds)
            for process in others.values():
                process.close()
            print(name, method, phase, medians(found[phase]), flush=True)
    return found


def measure_bytes(pair: Pair, method: str, batch: int) -> dict[str, dict]:
    """At the peak of an iteration, of mmkd and of running everything, by the phases of a method."""
    found = {}
    with training(pair, method, batch) as product:
        for phase in product.phases:
            product.enter(phase)
            found[phase] = {
                'mmkd': peak_bytes(product.step, product.optimizer, *networks(product.distiller)),
                'run everything': bytes_of_everything(product),
            }
    return found


def networks(distiller: Distiller) -> tuple[nn.Module, ...]:
    """All that holds weights."""
    return distiller.student, distiller.teacher.network, distiller.extras


def bytes_of_everything(product: Product) -> int:
    """Its optimizer has moments from the second step on, as that of the training has."""
    rival = RunEverything(product)
    rival.step()
    return peak_bytes(rival.step, rival.optimizer, rival.student, rival.teacher, rival.extras)


def medians(seconds: dict[str, list[float]]) -> dict[str, str]:
    """To be read while the rest is measured."""
    return {who: f'{median(those):.3f} s' for who, those in seconds.items()}


def measure_compiled(name: str, pair: Pair, methods: Sequence[str], rounds: int) -> list[dict]:
    """Every phase of every method, compiled and not."""
    rows = []
    batch = pair.batch[GPU]
    for method in methods:
        with tempfile.TemporaryDirectory() as cache:
            os.environ['TORCHINDUCTOR_CACHE_DIR'] = cache  # as on a machine's first run
            begins = [time.perf_counter()]
            with training(pair, method, batch) as plain:
                begins.append(time.perf_counter())
                with training(pair, method, batch, compile=True) as compiled:
                    start = time.perf_counter() - begins[1] - (begins[1] - begins[0])
                    for phase in plain.phases:
                        plain.enter(phase)
                        begin = time.perf_counter()
                        compiled.enter(phase)
                        first = time.perf_counter() - begin
                        seconds = alternate({'mmkd': plain.step, 'compiled': compiled.step}, rounds)
                        shared = dict(pair=name, size=pair.size, batch=batch, method=method, phase=phase)
                        rows.append(dict(**shared, seconds=seconds, start=start, first=first))
                        print(name, method, phase, medians(seconds), flush=True)
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
