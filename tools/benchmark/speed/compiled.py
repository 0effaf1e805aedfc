"""The speed-up of phases by ``model.compile=True``, and the time to compile."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from unittest.mock import patch

from benchmark_page import Results
from iterations import training
from measuring import GPU, Ratio, alternate, medians
from pairs import Pair
from schedules import by_pair


def measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    """Measure every phase of SSKD with and without compiling."""
    with training(pair, 'SSKD', pair.batch[GPU]):
        pass  # imports shall not count as compiling
    return measure_phases(name, pair, 'SSKD', (), lambda steps: alternate(steps, rounds))


def measure_phases(
    name: str, pair: Pair, method: str, phases: Sequence[str], timed: Callable, compile: bool | dict = True
) -> list[dict]:
    """Measure some phases.

    Args:
        name: Of the pair.
        pair: Which networks.
        method: The class of a distiller.
        phases: All if empty.
        timed: Gives the seconds of each step.
        compile: The distiller's option.
    """
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
        rows = []  # with an empty cache, as in a machine's first run
        batch = pair.batch[GPU]
        begins = [time.perf_counter()]
        with training(pair, method, batch) as plain:
            begins.append(time.perf_counter())
            with training(pair, method, batch, compile=compile) as compiled:
                start = time.perf_counter() - begins[1] - (begins[1] - begins[0])
                for each in (plain, compiled):
                    each.keep_on_device()
                for phase in phases or plain.phases:
                    plain.enter(phase)
                    begin = time.perf_counter()
                    compiled.enter(phase)
                    first = time.perf_counter() - begin
                    seconds = timed({'mmkd': plain.step, 'compiled': compiled.step})
                    rows.append(dict(pair=name, method=method, phase=phase, seconds=seconds, start=start, first=first))
                    print(name, method, phase, medians(seconds), flush=True)
        return rows


def table(results: Results) -> list[str]:
    """A line for each method of a pair; the first iteration, which compiles, is listed separately."""
    lines = [
        '| | Times as fast, by phase | Seconds of the first iteration | more at the start |',
        '|---|---|---|---|',
    ]
    for pair, rows in by_pair([row for row in results['compiled'] if row['seconds']]).items():
        for method in dict.fromkeys(row['method'] for row in rows):
            lines.append(_line(f'{pair}, {method}', [row for row in rows if row['method'] == method]))
    return lines


def _line(title: str, rows: Sequence[dict]) -> str:
    gains = [
        f'{row["phase"]} {Ratio.of(row["seconds"]["mmkd"], row["seconds"]["compiled"]).median:.2f}' for row in rows
    ]
    first = [row['first'] for row in rows]
    cells = [title, ', '.join(gains), f'{min(first):.0f}-{max(first):.0f}', f'{rows[0]["start"]:.0f}']
    return f'| {" | ".join(cells)} |'
