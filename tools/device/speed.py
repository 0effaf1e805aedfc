#!/usr/bin/env python3
"""Time every phase's iterations on the device: mmkd, its options and its rivals; one line per phase."""

import gc
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
BENCHMARK = HERE.parent / 'benchmark'
sys.path[:0] = [str(HERE), str(BENCHMARK / 'speed'), str(BENCHMARK), str(HERE.parents[1])]

import mmkd  # noqa: F401, I001  (the stand-in must be offered before mmdet is imported)
import torch
from iterations import LOW, networks, training
from lines import Lines, first_line
from measuring import GPU, alternate, peak_bytes
from pairs import PAIRS, Pair
from mmkd_training import MmkdTraining
from rivals import Floor, RunEverything
from surroundings import surroundings

WAYS: dict[str, dict[str, Any]] = {  # options of mmkd besides the plain run
    'frozen_dtype': LOW,
    'bfloat16': dict(amp='bfloat16'),
    'channels first': dict(channels_last=False),
    'graphs': dict(cuda_graph=True),
    'graphs with the step': dict(cuda_graph=True, fused=True),
    'compiled': dict(compile=True),
}
SMALL = {'resnet56 -> resnet20': Pair('mmkd::sskd/sskd_resnet56_resnet20_cifar100.py', 32, (16, 128), 100)}
DRY = {'digits': Pair('mmkd::sskd/sskd_resnet18-w32_resnet18-w16_digits.py', 16, (2, 2), 10)}
BLOCK = 0.1  # approximate seconds of one timing


@dataclass(frozen=True)
class Measurement:
    """Measurements that share networks.

    Args:
        pair: Its name.
        method: The method.
        ways: Of mmkd, besides the plain one.
        rivals: Whether the floor and running everything are measured, too.
    """

    pair: str
    method: str
    ways: tuple[str, ...] = ()
    rivals: bool = True


PLAN = (  # the most valuable first
    Measurement('resnet56 -> resnet20', 'SSKD', ('graphs', 'graphs with the step', 'frozen_dtype', 'bfloat16')),
    Measurement('ResNet-34 -> ResNet-18', 'SSKD', ('frozen_dtype', 'bfloat16', 'channels first')),
    Measurement('resnet56 -> resnet20', 'KD', ('graphs', 'graphs with the step', 'frozen_dtype')),
    Measurement('resnet56 -> resnet20', 'MHKD', ('graphs', 'frozen_dtype')),
    Measurement('RetinaNet R-101 -> R-50', 'SSKD', ('frozen_dtype', 'bfloat16')),
    Measurement('resnet32x4 -> resnet8x4', 'SSKD', ('graphs', 'frozen_dtype', 'bfloat16', 'channels first')),
    Measurement('ResNet-34 -> ResNet-18', 'KD', ('frozen_dtype', 'bfloat16')),
    Measurement('ResNet-34 -> ResNet-18', 'MHKD', ('frozen_dtype',)),
    Measurement('ResNet-34 -> ResNet-18', 'KD', ('compiled',), rivals=False),
    Measurement('RetinaNet R-101 -> R-50', 'KD', ('frozen_dtype',)),
    Measurement('resnet32x4 -> resnet8x4', 'KD', ('frozen_dtype',)),
    Measurement('RetinaNet R-101 -> R-50', 'MHKD', ('frozen_dtype',)),
    Measurement('resnet32x4 -> resnet8x4', 'MHKD', ('frozen_dtype',)),
    Measurement('resnet56 -> resnet20', 'KD', ('compiled',), rivals=False),
)


class OutOfTimeError(Exception):
    """The time for measuring is over."""


def measure(what: Measurement, pair: Pair, rounds: int, lines: Lines, deadline: float) -> list[str]:
    """Measure all phases and write each line at once; return the ways and rivals that fail, which get a line, too."""
    shared = dict(pair=what.pair, method=what.method, size=pair.size, batch=pair.batch[GPU])
    failed = []
    with ExitStack() as stack:
        runs = {}
        for way in ('mmkd', *what.ways):
            try:
                runs[way] = stack.enter_context(training(pair, what.method, pair.batch[GPU], **WAYS.get(way, {})))
                keep_on_device(runs[way])
            except Exception as error:
                lines.add(**shared, way=way, error=first_line(error))
                failed.append(f'{what.pair}, {what.method}, {way}')
        if 'mmkd' not in runs:
            return failed
        for phase in runs['mmkd'].phases:
            if time.monotonic() > deadline:
                raise OutOfTimeError
            told = of_phase(what, phase, runs, rounds, pair.batch[GPU])
            lines.add(**shared, phase=phase, **told)
            failed += [f'{what.pair}, {what.method}, {phase}, {who}' for who in told.get('errors', ())]
    return failed


def of_phase(what: Measurement, phase: str, runs: dict[str, MmkdTraining], rounds: int, batch: int) -> dict:
    """Times, memory and errors."""
    steps: dict[str, Callable[[], object]] = {}
    memory: dict[str, object] = {}
    errors: dict[str, str] = {}
    for way, ours in runs.items():
        if attempt(way, partial(ours.enter, phase), {}, errors):
            steps[way] = ours.step
    rivals: dict[str, Any] = {}
    for name, kind in (('floor', Floor), ('run everything', RunEverything)) if what.rivals else ():
        if attempt(name, partial(kind, runs['mmkd']), rivals, errors):
            steps[name] = rivals[name].step
    for who in list(steps):
        if not attempt(who, partial(peak, steps[who], runs.get(who, runs['mmkd'])), memory, errors):
            del steps[who]
    told = {who: milliseconds(those, batch) for who, those in timed(steps, rounds).items()}
    print(what.pair, what.method, phase, told, errors, flush=True)
    return dict(ms=told, mib=memory, **(dict(errors=errors) if errors else {}))


def keep_on_device(ours: MmkdTraining) -> None:
    """The batch is moved beforehand, as for the rivals: copying is not measured here."""
    ours.loop.batch = ours.distiller.data_preprocessor.cast_data(ours.loop.batch)


def attempt(who: str, act: Callable[[], object], found: dict, errors: dict[str, str]) -> bool:
    """Store its result or its error; return whether it succeeded."""
    try:
        found[who] = act()
    except Exception as error:
        errors[who] = first_line(error)
        if GPU:
            torch.cuda.empty_cache()
    return who not in errors


def peak(step: Callable[[], object], ours: MmkdTraining) -> int:
    """Peak MiB of an iteration after a warm-up; a rival's weights count like mmkd's."""
    step()
    return peak_bytes(step, ours.optimizer, *networks(ours.distiller)) // 2**20


def timed(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds per iteration; a block of iterations is timed at once, so that the GPU never waits."""
    once = alternate(steps, 2)
    counts = {who: max(1, min(20, round(BLOCK / min(those)))) for who, those in once.items()}

    def block(who: str) -> None:
        for _ in range(counts[who]):
            steps[who]()

    blocks = alternate({who: partial(block, who) for who in steps}, rounds)
    return {who: [seconds / counts[who] for seconds in those] for who, those in blocks.items()}


def milliseconds(seconds: list[float], batch: int) -> dict[str, float]:
    """The median, the shortest and the longest time, and images per second."""
    middle = median(seconds)
    figures = dict(median=middle, least=min(seconds), most=max(seconds))
    return {
        **{name: float(f'{1000 * value:.4g}') for name, value in figures.items()},
        'images_per_s': round(batch / middle),
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for speed.jsonl')
    parser.add_argument('--seconds', type=float, default=600, help='after which nothing more is begun [600]')
    parser.add_argument('--rounds', type=int, default=7, help='that count [7]')
    parser.add_argument('--dry-run', action='store_true', help='one small pair of networks')
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lines = Lines(args.out / 'speed.jsonl', surroundings())
    pairs = {**SMALL, **PAIRS, **DRY}
    plan = (
        (Measurement('digits', 'SSKD', ('graphs', 'graphs with the step', 'frozen_dtype', 'channels first')),)
        if args.dry_run
        else PLAN
    )
    failed = []
    try:
        for what in plan:
            try:
                failed += measure(what, pairs[what.pair], 2 if args.dry_run else args.rounds, lines, deadline)
            except Exception as error:
                if isinstance(error, OutOfTimeError):
                    raise
                lines.add(pair=what.pair, method=what.method, error=first_line(error))
                failed.append(f'{what.pair}, {what.method}')
            gc.collect()
            if GPU:
                torch.cuda.empty_cache()
    except OutOfTimeError:
        print('the time was up', flush=True)
    if failed:
        sys.exit(f'error: these could not be measured: {"; ".join(failed)}')


if __name__ == '__main__':
    main()
