"""The measured iterations as tables."""

from collections.abc import Sequence
from statistics import median

import schedules
from benchmark_page import Results
from measuring import Ratio
from schedules import by_pair, stages

HEAD = '| | Seconds | Images/s | Gain | Against the floor | MiB |\n|---|---|---|---|---|---|'
GAIN_HEAD = '| Gain | SSKD | KD | MHKD | with bfloat16: SSKD | KD | MHKD |\n|---|---|---|---|---|---|---|'
ALONE_HEAD = '| Against the student alone | KD, time | KD, MiB | MHKD, MiB | SSKD, MiB |\n|---|---|---|---|---|'
GAINS = (('run everything', 'mmkd'), ('run everything', 'frozen_dtype'))
ELSEWHERE = ('frozen_dtype', 'floor', 'run everything', 'student alone', 'torchdistill')  # have no lines of their own


def table(results: Results) -> list[str]:
    """The gains of all pairs, each phase of each pair, and torchdistill."""
    rows = [row for those in by_pair(results['iterations']).values() if any(map(_seconds, those)) for row in those]
    gains = [gain(pair, those) for pair, those in by_pair(rows).items()]
    lines = [GAIN_HEAD, *gains, '', *spread(rows), *against_floor(rows), '', *against_alone(rows), HEAD]
    for pair, those in by_pair(rows).items():
        first = those[0]
        images = f'{first["batch"]} images of {first["size"]} pixels, MiB of {first["images"]}'
        lines += [f'| **{pair}** | {images} | | | | |']
        lines += [line(row, who) for row in those for who in row['seconds'] if who not in ELSEWHERE]
    return [*lines, *torchdistill(rows)]


def gain(pair: str, rows: Sequence[dict]) -> str:
    """The row of a pair."""
    cells = []
    for who in ('mmkd', 'frozen_dtype'):
        gains = {row['method']: cell(ratio(row, 'run everything', who)) for row in rows}
        if stages(rows):
            gains['SSKD'] = schedules.gain(in_equal_epochs(rows, 'run everything'), in_equal_epochs(rows, who))
        cells += [gains.get(method, '-') for method in ('SSKD', 'KD', 'MHKD')]
    return f'| {" | ".join([pair, *cells])} |'


def spread(rows: Sequence[dict]) -> list[str]:
    """A sentence about how far the rounds differ, for all ratios in the tables."""
    ratios = [found for row in rows for those in (('mmkd', 'floor'), *GAINS) if (found := ratio(row, *those))]
    if not ratios:
        return []
    widths = [100 * max(found.high - found.median, found.median - found.low) / found.median for found in ratios]
    return [
        'Gain: how many times as fast as running everything, of SSKD with equal epochs per phase. Ratios are medians; '
        f'quartiles lie {median(widths):.0f} % from them as a rule and {max(widths):.0f} % at most.'
    ]


def against_floor(rows: Sequence[dict]) -> list[str]:
    """A sentence about the fastest and the slowest phase."""
    found = {f'{row["pair"]}, {title(row)}': ratio(row, 'mmkd', 'floor') for row in rows}
    ratios = {name: each.median for name, each in found.items() if each}
    if not ratios:
        return []
    slowest = max(ratios, key=lambda name: ratios[name])
    least, most = min(ratios.values()), ratios[slowest]
    return [f'An iteration takes {least:.2f} to {most:.2f} of the time of the floor, the most in {slowest}.']


def against_alone(rows: Sequence[dict]) -> list[str]:
    """Time and memory compared with the student's own training, where measured; for SSKD its largest phase."""
    lines = []
    for pair, those in by_pair(rows).items():
        kd = next((row for row in those if 'student alone' in row['bytes']), None)
        if kd is not None:
            alone = kd['bytes']['student alone']
            memory = [
                max((row['bytes']['mmkd'] / alone for row in those if _has_memory(row, method)), default=None)
                for method in ('KD', 'MHKD', 'SSKD')
            ]
            cells = [
                pair,
                cell(ratio(kd, 'mmkd', 'student alone')),
                *('-' if x is None else f'{x:.2f}' for x in memory),
            ]
            lines.append(f'| {" | ".join(cells)} |')
    return [ALONE_HEAD, *lines, ''] if lines else []


def _seconds(row: dict) -> dict:
    return row['seconds']


def _has_memory(row: dict, method: str) -> bool:
    return row['method'] == method and 'mmkd' in row['bytes']


def line(row: dict, who: str = 'mmkd') -> str:
    """The row of a phase, of mmkd or of it with an option."""
    seconds, memory = median(row['seconds'][who]), row['bytes'].get(who)
    cells = [
        title(row) if who == 'mmkd' else f'{title(row)}, {who}',
        figure(seconds),
        figure(row['batch'] / seconds),
        cell(ratio(row, 'run everything', who)),
        cell(ratio(row, who, 'floor')),
        '-' if memory is None else f'{memory / 2**20:.0f}',
    ]
    return f'| {" | ".join(cells)} |'


def figure(value: float) -> str:
    """A number with three digits or more."""
    return f'{value:,.0f}' if value >= 100 else f'{value:#.3g}'.rstrip('.')


def in_equal_epochs(rows: Sequence[dict], who: str) -> float | None:
    """Seconds of an iteration of SSKD, on average over its phases."""
    return schedules.seconds(stages(rows), who, head=1 / len(stages(rows)))


def torchdistill(rows: Sequence[dict]) -> list[str]:
    """The table of torchdistill, if it was measured."""
    those = [row for row in rows if 'torchdistill' in row['seconds']]
    if not those:
        return []
    lines = ['', '| | torchdistill, seconds | Against mmkd |', '|---|---|---|']
    for row in those:
        seconds = figure(median(row['seconds']['torchdistill']))
        lines.append(f'| {row["pair"]}, {title(row)} | {seconds} | {ratio(row, "torchdistill", "mmkd") or "-"} |')
    return lines


def title(row: dict) -> str:
    """The title of a phase."""
    return f'SSKD, {row["phase"]}' if row['method'] == 'SSKD' else row['method']


def ratio(row: dict, who: str, other: str) -> Ratio | None:
    """The ratio of two programs' seconds, if both were measured."""
    seconds = row['seconds']
    return Ratio.of(seconds[who], seconds[other]) if who in seconds and other in seconds else None


def cell(found: Ratio | None) -> str:
    """A ratio in a table."""
    return f'{found.median:.2f}' if found else '-'
