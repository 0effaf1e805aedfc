#!/usr/bin/env python3
"""Time the iterations of every phase on the device: mmkd, its options and its rivals; a line for each, at once."""

import gc
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARK = HERE.parent / 'benchmark'
sys.path[:0] = [str(HERE), str(BENCHMARK / 'speed'), str(BENCHMARK), str(HERE.parents[1])]

import mmkd  # noqa: F401, I001  (the stand-in must be offered before mmdet is imported)
import torch
from benchmark_page import NOT_IN_TIME
from compiled import measure_phases
from iterations import training
from lines import Lines
from measuring import GPU, in_blocks, medians, repeated
from mmkd_training import MmkdTraining
from phase_speed import PhaseSpeed, failure_of
from speed_plan import ALL_PAIRS, DRY_PLAN, PLAN, WAYS, Compiled, Iterations
from surroundings import surroundings


class Speed:
    """Measures what is planned, and writes rows for the tables of tools/benchmark/speed.

    Args:
        lines: Where they go.
        rounds: That count.
        block: Approximate seconds of one timing.
        deadline: On the monotonic clock; nothing more is begun after it.
    """

    def __init__(self, lines: Lines, rounds: int, block: float, deadline: float):
        self.lines, self.rounds, self.block, self.deadline = lines, rounds, block, deadline
        self.failed: list[str] = []

    def measure(self, plan: tuple[Iterations | Compiled, ...]) -> None:
        """Measure as much as there is time for; lines at the beginning name all, as it may be cut off."""
        for what in plan:
            self._add(what, what.phase, errors=NOT_IN_TIME)
        for what in plan:
            errors: dict[str, str] = {}
            with failure_of('mmkd', errors):
                if time.monotonic() < self.deadline:
                    self._compiled(what) if isinstance(what, Compiled) else self._iterations(what)
            if errors:
                self._add(what, what.phase, errors=errors)
            gc.collect()
            if GPU:
                torch.cuda.empty_cache()

    def _iterations(self, what: Iterations) -> None:
        pair, errors = ALL_PAIRS[what.pair], {}
        with ExitStack() as stack:
            runs: dict[str, MmkdTraining] = {}
            for way in ('mmkd', *what.ways):
                with failure_of(way, errors):
                    options = WAYS.get(way, {})
                    runs[way] = stack.enter_context(training(pair, what.method, pair.batch[GPU], **options))
                    runs[way].keep_on_device()
            if 'mmkd' not in runs:
                self._add(what, None, errors=errors)
                return
            phases = runs['mmkd'].phases
            for phase in phases:
                self._add(what, phase, errors=NOT_IN_TIME)
            for phase in phases:
                if time.monotonic() < self.deadline:
                    self._phase(what, phase, runs, errors)

    def _phase(self, what: Iterations, phase: str, runs: Mapping[str, MmkdTraining], errors: Mapping[str, str]) -> None:
        with closing(PhaseSpeed(phase, runs, errors)) as found:
            found.add_rivals(what.method, runs['mmkd'])
            if what.torchdistill:
                found.add_torchdistill(ALL_PAIRS[what.pair].batch[GPU])
            found.take_times(self.rounds, self.block)
            self._add(what, phase, seconds=found.seconds, bytes=found.bytes, errors=found.errors)

    def _compiled(self, what: Compiled) -> None:
        rows = measure_phases(
            what.pair,
            ALL_PAIRS[what.pair],
            what.method,
            [what.phase],
            lambda steps: in_blocks({who: repeated(step) for who, step in steps.items()}, self.rounds, self.block),
            what.compile,
        )
        for row in rows:
            self._add(what, row['phase'], seconds=row['seconds'], start=row['start'], first=row['first'])

    def _add(self, what: Iterations | Compiled, phase: str | None, **told) -> None:
        errors = told.get('errors', {})
        if errors != NOT_IN_TIME:
            self.failed += [', '.join(filter(None, [what.pair, what.method, phase, who])) for who in errors]
            print(what.pair, what.method, phase, medians(told.get('seconds', {})), errors, flush=True)
        pair = ALL_PAIRS[what.pair]
        size = dict(size=pair.size, batch=pair.batch[GPU], images=pair.batch[GPU])
        row = dict(part=what.part, pair=what.pair, method=what.method, phase=phase, **size)
        self.lines.add(**row, **{'seconds': {}, 'bytes': {}, **told})


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for speed.jsonl')
    parser.add_argument('--seconds', type=float, default=600, help='after which nothing more is begun [600]')
    parser.add_argument('--dry-run', action='store_true', help='one small pair of networks')
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name, plan, rounds, block = ('dry_run_speed', DRY_PLAN, 2, 0.0) if args.dry_run else ('speed', PLAN, 7, 0.1)
    speed = Speed(Lines(args.out / f'{name}.jsonl', dict(surroundings(), rounds=rounds)), rounds, block, deadline)
    speed.measure(plan)
    if time.monotonic() > deadline:
        print(f'the time was up; {speed.lines.path} names what was not measured', flush=True)
    if speed.failed:
        sys.exit(f'error: these could not be measured: {"; ".join(speed.failed)}')


if __name__ == '__main__':
    main()
