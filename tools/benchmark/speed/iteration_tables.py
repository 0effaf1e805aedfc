"""The measured iterations as tables."""

from collections.abc import Sequence
from statistics import median

import schedules
from benchmark_page import Results
from measuring import Ratio
from schedules import by_pair, stages

HEAD = '| | Seconds | Gain | MiB |\n|---|---|---|---|'
GAIN_HEAD = '| Gain | SSKD | KD | MHKD | with bfloat16: SSKD | KD | MHKD |\n|---|---|---|---|---|---|---|'
ALONE_HEAD = '| Against the student alone | KD, time | KD, MiB | MHKD, MiB | SSKD, MiB |\n|---|---|---|---|---|'
GAINS = (('run everything', 'mmkd'), ('run everything', 'frozen_dtype'))


def table(results: Results) -> list[str]:
    """The gains of all pairs, each phase of each pair, and torchdistill."""
    rows = results['iterations']
    gains = [gain(pair, those) for pair, those in by_pair(rows).items()]
    lines = [GAIN_HEAD, *gains, '', spread(rows), against_floor(rows), '', *against_alone(rows), HEAD]
    for pair, those in by_pair(rows).items():
        first = those[0]
        images = f'{first["batch"]} images of {first["size"]} pixels, MiB of {first["images"]}'
        lines += [f'| **{pair}** | {images} | | |', *(line(row) for row in those)]
    return [*lines, *torchdistill(rows)]


def gain(pair: str, rows: Sequence[dict]) -> str:
    """The row of a pair."""
    cells = []
    for who in ('mmkd', 'frozen_dtype'):
        gains = {row['method']: ratio(row, 'run everything', who).median for row in rows}
        if stages(rows):
            gains['SSKD'] = in_equal_epochs(rows, 'run everything') / in_equal_epochs(rows, who)
        cells += [f'{gains[method]:.2f}' if method in gains else '-' for method in ('SSKD', 'KD', 'MHKD')]
    return f'| {" | ".join([pair, *cells])} |'


def spread(rows: Sequence[dict]) -> str:
    """A sentence about how far the rounds differ, for all ratios in the tables."""
    ratios = [ratio(row, *those) for row in rows for those in (('mmkd', 'floor'), *GAINS)]
    widths = [100 * max(found.high - found.median, found.median - found.low) / found.median for found in ratios]
    return (
        'Gain: how many times as fast as running everything, of SSKD with equal epochs per phase. Ratios are medians; '
        f'quartiles lie {median(widths):.0f} % from them as a rule and {max(widths):.0f} % at most.'
    )


def against_floor(rows: Sequence[dict]) -> str:
    """A sentence about the fastest and the slowest phase."""
    ratios = {f'{row["pair"]}, {title(row)}': ratio(row, 'mmkd', 'floor').median for row in rows}
    slowest = max(ratios, key=lambda name: ratios[name])
    least, most = min(ratios.values()), ratios[slowest]
    return f'An iteration takes {least:.2f} to {most:.2f} of the time of the floor, the most in {slowest}.'


def against_alone(rows: Sequence[dict]) -> list[str]:
    """Time and memory compared with the student's own training, where measured; for SSKD its largest phase."""
    lines = []
    for pair, those in by_pair(rows).items():
        kd = next((row for row in those if 'student alone' in row['bytes']), None)
        if kd is not None:
            alone = kd['bytes']['student alone']
            time = f'{ratio(kd, "mmkd", "student alone").median:.2f}' if 'student alone' in kd['seconds'] else '-'
            memory = [
                max((row['bytes']['mmkd'] / alone for row in those if row['method'] == method), default=None)
                for method in ('KD', 'MHKD', 'SSKD')
            ]
            lines.append(f'| {" | ".join([pair, time, *("-" if x is None else f"{x:.2f}" for x in memory)])} |')
    return [ALONE_HEAD, *lines, ''] if lines else []


def line(row: dict) -> str:
    """The row of a phase."""
    seconds, gain = median(row['seconds']['mmkd']), ratio(row, 'run everything', 'mmkd').median
    return f'| {title(row)} | {seconds:.3f} | {gain:.2f} | {row["bytes"]["mmkd"] / 2**20:.0f} |'


def in_equal_epochs(rows: Sequence[dict], who: str) -> float:
    """Seconds of an iteration of SSKD, on average over its phases."""
    return schedules.seconds(stages(rows), who, head=1 / len(stages(rows)))


def torchdistill(rows: Sequence[dict]) -> list[str]:
    """The table of torchdistill, if it was measured."""
    those = [row for row in rows if 'torchdistill' in row['seconds']]
    if not those:
        return []
    lines = ['', '| | torchdistill, seconds | Against mmkd |', '|---|---|---|']
    for row in those:
        seconds = median(row['seconds']['torchdistill'])
        lines.append(f'| {row["pair"]}, {title(row)} | {seconds:.3f} | {ratio(row, "torchdistill", "mmkd")} |')
    return lines


def title(row: dict) -> str:
    """The title of a phase."""
    return f'SSKD, {row["phase"]}' if row['method'] == 'SSKD' else row['method']


def ratio(row: dict, who: str, other: str) -> Ratio:
    """The ratio of two programs' seconds."""
    return Ratio.of(row['seconds'][who], row['seconds'][other])
