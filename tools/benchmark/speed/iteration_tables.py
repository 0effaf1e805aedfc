"""The measured iterations as tables."""

from collections.abc import Callable, Sequence
from statistics import median

import schedules
from benchmark_page import Results
from measuring import Ratio
from schedules import by_pair, stages

HEAD = (
    '| | Seconds | Of the floor | Gain | with bfloat16 | MiB | Of running everything |\n|---|---|---|---|---|---|---|'
)
GAIN_HEAD = '| Gain | SSKD | KD | MHKD | with bfloat16: SSKD | KD | MHKD |\n|---|---|---|---|---|---|---|'
ALONE_HEAD = '| Against the student alone | KD, time | KD, MiB | MHKD, MiB | SSKD, MiB |\n|---|---|---|---|---|'
GOALS_HEAD = '| Goal | Measured | with bfloat16 |\n|---|---|---|'
COMPARED = (('mmkd', 'floor'), ('run everything', 'mmkd'), ('run everything', 'frozen_dtype'))
SSKD_GOALS = {'ResNet-34 -> ResNet-18': 2.2, 'RetinaNet R-101 -> R-50': 4.0}  # against running everything


def table(results: Results) -> list[str]:
    """The gains of all pairs, each phase of each pair, torchdistill and the goals."""
    rows = results['iterations']
    lines = [GAIN_HEAD, *(gain(pair, those) for pair, those in by_pair(rows).items()), '', spread(rows), '']
    lines += [*against_alone(rows), HEAD]
    for pair, those in by_pair(rows).items():
        first = those[0]
        images = f'{first["batch"]} images of {first["size"]} pixels, MiB of {first["images"]}'
        lines += [f'| **{pair}** | {images} | | | | | |', *(line(row) for row in those), *equal_epochs(those)]
    return [*lines, '', *torchdistill(rows), *goals(rows)]


def gain(pair: str, rows: Sequence[dict]) -> str:
    """A pair in one line."""
    cells = []
    for who in ('mmkd', 'frozen_dtype'):
        gains = {row['method']: ratio(row, 'run everything', who).median for row in rows}
        if stages(rows):
            gains['SSKD'] = in_equal_epochs(rows, 'run everything') / in_equal_epochs(rows, who)
        cells += [f'{gains[method]:.2f}' if method in gains else '-' for method in ('SSKD', 'KD', 'MHKD')]
    return f'| {" | ".join([pair, *cells])} |'


def spread(rows: Sequence[dict]) -> str:
    """How far the rounds differ, for all ratios in the tables."""
    ratios = [ratio(row, *those) for row in rows for those in COMPARED]
    widths = [100 * max(found.high - found.median, found.median - found.low) / found.median for found in ratios]
    return (
        'Gain: how many times as fast as running everything. Ratios are medians over the rounds; their quartiles lie '
        f'{median(widths):.0f} % from them as a rule and {max(widths):.0f} % at most.'
    )


def against_alone(rows: Sequence[dict]) -> list[str]:
    """Time and memory beside the student's own training, where that was measured; of SSKD the largest phase."""
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
    """One phase."""
    memory = row['bytes']
    cells = (
        title(row),
        f'{median(row["seconds"]["mmkd"]):.3f}',
        *(f'{ratio(row, *those).median:.2f}' for those in COMPARED),
        f'{memory["mmkd"] / 2**20:.0f}',
        f'{memory["mmkd"] / memory["run everything"]:.2f}',
    )
    return f'| {" | ".join(cells)} |'


def equal_epochs(rows: Sequence[dict]) -> list[str]:
    """SSKD with as many epochs for each phase, as one line."""
    if not stages(rows):
        return []
    own, low, floor, everything = (
        in_equal_epochs(rows, who) for who in ('mmkd', 'frozen_dtype', 'floor', 'run everything')
    )
    return [
        f'| SSKD, equal epochs | {own:.3f} | {own / floor:.2f} | {everything / own:.2f} | {everything / low:.2f} | | |'
    ]


def in_equal_epochs(rows: Sequence[dict], who: str) -> float:
    """Seconds of an iteration of SSKD, on average over its phases."""
    return schedules.seconds(stages(rows), who, head=1 / len(stages(rows)))


def torchdistill(rows: Sequence[dict]) -> list[str]:
    """Against torchdistill, where it was measured."""
    those = [row for row in rows if 'torchdistill' in row['seconds']]
    if not those:
        return []
    lines = ['### torchdistill', '', '| | torchdistill, seconds | Against mmkd |', '|---|---|---|']
    for row in those:
        seconds = median(row['seconds']['torchdistill'])
        lines.append(f'| {row["pair"]}, {title(row)} | {seconds:.3f} | {ratio(row, "torchdistill", "mmkd")} |')
    return [*lines, '']


def goals(rows: Sequence[dict]) -> list[str]:
    """The goals that were set before anything was measured, and which were missed."""
    lines = ['### Goals', '', GOALS_HEAD]
    floors = {f'{row["pair"]}, {title(row)}': ratio(row, 'mmkd', 'floor').median for row in rows}
    slowest = max(floors, key=lambda name: floors[name])
    lines.append(
        goal(f'1.05 of the floor in every phase, the slowest: {slowest}', lambda x: x <= 1.05, floors[slowest])
    )
    for pair, those in by_pair(stages(rows)).items():
        if pair in SSKD_GOALS:
            everything = in_equal_epochs(those, 'run everything')
            found = [everything / in_equal_epochs(those, who) for who in ('mmkd', 'frozen_dtype')]
            text = f'SSKD, equal epochs: a gain of {SSKD_GOALS[pair]}, {pair}'
            lines.append(goal(text, lambda x, least=SSKD_GOALS[pair]: x >= least, *found))
    if many := [row for row in rows if row['method'] == 'MHKD']:
        found = [min(ratio(row, 'run everything', who).median for row in many) for who in ('mmkd', 'frozen_dtype')]
        text = 'MHKD: a gain of 1.3, in the slowest pair'
        lines.append(goal(text, lambda x: x >= 1.3, *found))
    if stages(rows):
        found = [
            max(row['bytes'][who] / row['bytes']['run everything'] for row in stages(rows))
            for who in ('mmkd', 'frozen_dtype')
        ]
        text = 'SSKD: 0.6 of the memory of running everything in every phase, the largest'
        lines.append(goal(text, lambda x: x <= 0.6, *found))
    return lines


def goal(text: str, is_reached: Callable[[float], bool], *found: float) -> str:
    """By default, and with ``frozen_dtype`` where that makes a difference."""
    cells = [f'{value:.2f}, {"reached" if is_reached(value) else "missed"}' for value in found]
    return f'| {" | ".join([text, *cells, *["-"] * (2 - len(cells))])} |'


def title(row: dict) -> str:
    """Of a phase."""
    return f'SSKD, {row["phase"]}' if row['method'] == 'SSKD' else row['method']


def ratio(row: dict, who: str, other: str) -> Ratio:
    """Of the seconds."""
    return Ratio.of(row['seconds'][who], row['seconds'][other])
