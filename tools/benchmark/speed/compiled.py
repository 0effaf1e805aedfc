"""The speed-up of SSKD by ``model.compile=True``, and the time to compile."""

import os
import tempfile
import time
from statistics import median
from unittest.mock import patch

from iterations import training
from measuring import GPU, Ratio, alternate, medians
from page import Results
from pairs import Pair


def measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    """Every phase, compiled and not."""
    with training(pair, 'SSKD', pair.batch[GPU]):
        pass  # what is imported first is not what compiling takes
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
        return _measure(name, pair, rounds)  # as on a machine's first run


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
    """A line for each phase; the first iteration, which compiles, is listed separately."""
    lines = [
        '| | Seconds | Compiled | Times as fast | Seconds of the first iteration |',
        '|---|---|---|---|---|',
    ]
    rows = results['compiled']
    for row in rows:
        plain, compiled = row['seconds']['mmkd'], row['seconds']['compiled']
        cells = f'{median(plain):.3f} | {median(compiled):.3f} | {Ratio.of(plain, compiled)} | {row["first"]:.0f}'
        lines.append(f'| {row["pair"]}, SSKD, {row["phase"]} | {cells} |')
    starts = {row['pair']: row['start'] for row in rows}
    took = '; '.join(f'{pair}: {seconds:.0f}' for pair, seconds in starts.items())
    return [*lines, '', f'Seconds that the start took longer, where everything is compiled on trial: {took}.']
