"""The speed-up of SSKD by ``model.compile=True``, and the time to compile."""

import os
import tempfile
import time
from unittest.mock import patch

from benchmark_page import Results
from iterations import training
from measuring import GPU, Ratio, alternate, medians
from pairs import Pair
from schedules import by_pair


def measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    """Measure every phase with and without compiling."""
    with training(pair, 'SSKD', pair.batch[GPU]):
        pass  # imports shall not count as compiling
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
        return _measure(name, pair, rounds)  # with an empty cache, as in a machine's first run


def _measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    rows = []
    batch = pair.batch[GPU]
    begins = [time.perf_counter()]
    with training(pair, 'SSKD', batch) as plain:
        begins.append(time.perf_counter())
        with training(pair, 'SSKD', batch, compile=True) as compiled:
            start = time.perf_counter() - begins[1] - (begins[1] - begins[0])
            for phase in plain.phases:
                plain.enter(phase)
                begin = time.perf_counter()
                compiled.enter(phase)
                first = time.perf_counter() - begin
                seconds = alternate({'mmkd': plain.step, 'compiled': compiled.step}, rounds)
                rows.append(dict(pair=name, phase=phase, seconds=seconds, start=start, first=first))
                print(name, phase, medians(seconds), flush=True)
    return rows


def table(results: Results) -> list[str]:
    """A line for each pair; the first iteration, which compiles, is listed separately."""
    lines = [
        '| | Times as fast, by phase | Seconds of the first iteration | more at the start |',
        '|---|---|---|---|',
    ]
    for pair, rows in by_pair(results['compiled']).items():
        gains = [
            f'{row["phase"]} {Ratio.of(row["seconds"]["mmkd"], row["seconds"]["compiled"]).median:.2f}' for row in rows
        ]
        first = [row['first'] for row in rows]
        cells = [pair, ', '.join(gains), f'{min(first):.0f}-{max(first):.0f}', f'{rows[0]["start"]:.0f}']
        lines.append(f'| {" | ".join(cells)} |')
    return lines
