"""The measured iterations as tables."""

from collections.abc import Callable, Sequence
from statistics import median

import schedules
from measuring import Ratio
from page import Results
from schedules import by_pair, stages

HEAD = (
    '| | Seconds | Against the floor | Run everything, against mmkd | MiB | Against run everything |\n'
    '|---|---|---|---|---|---|'
)
LOW_HEAD = (
    '| | Seconds | Against `frozen_dtype=None` | Run everything, against it | MiB | Against run everything |\n'
    '|---|---|---|---|---|---|'
)
GOALS_HEAD = (
    '| | Wanted | Measured | Reached | With `frozen_dtype`, the others in float32 | Reached |\n'
    '|---|---|---|---|---|---|'
)
LEAST = {'ResNet-34 -> ResNet-18': 2.2, 'RetinaNet R-101 -> R-50': 4.0}  # SSKD against running everything


def table(results: Results) -> list[str]:
    """Each pair, then what concerns them all."""
    rows, lines = results['iterations'], []
    for pair, those in by_pair(rows).items():
        first = those[0]
        images = f'{first["batch"]} images of {first["size"]} pixels; the memory is that of {first["images"]} images.'
        lines += [f'### {pair}', '', images, '', HEAD, *(line(row) for row in those), *equal_epochs(those), '']
    return [*lines, *in_half_the_bits(rows), '', *foreign(rows), *goals(rows)]


def line(row: dict) -> str:
    """One phase."""
    cells = (
        title(row),
        f'{median(row["seconds"]["mmkd"]):.3f}',
        str(ratio(row, 'mmkd', 'floor')),
        str(ratio(row, 'run everything', 'mmkd')),
        *memory_cells(row, 'mmkd'),
    )
    return f'| {" | ".join(cells)} |'


def equal_epochs(rows: Sequence[dict]) -> list[str]:
    """SSKD with as many epochs for each phase, as one line."""
    if not stages(rows):
        return []
    own, floor, everything = (in_equal_epochs(rows, who) for who in ('mmkd', 'floor', 'run everything'))
    return [f'| SSKD, equal epochs | {own:.3f} | {own / floor:.2f} | {everything / own:.2f} | | |']


def in_equal_epochs(rows: Sequence[dict], who: str) -> float:
    """Seconds of an iteration of SSKD, on average over its phases."""
    return schedules.seconds(stages(rows), who, head=1 / len(stages(rows)))


def in_half_the_bits(rows: Sequence[dict]) -> list[str]:
    """With frozen forwards in fewer bits; the competitors compute in float32 here, too."""
    lines = ["### With `frozen_dtype='bfloat16'`", '', LOW_HEAD]
    for pair, those in by_pair(rows).items():
        for row in those:
            cells = (
                f'{pair}, {title(row)}',
                f'{median(row["seconds"]["frozen_dtype"]):.3f}',
                str(ratio(row, 'frozen_dtype', 'mmkd')),
                str(ratio(row, 'run everything', 'frozen_dtype')),
                *memory_cells(row, 'frozen_dtype'),
            )
            lines.append(f'| {" | ".join(cells)} |')
    return lines


def memory_cells(row: dict, who: str) -> tuple[str, str]:
    """Of a competitor, and against running everything."""
    memory = row['bytes']
    return f'{memory[who] / 2**20:.0f}', f'{memory[who] / memory["run everything"]:.2f}'


def foreign(rows: Sequence[dict]) -> list[str]:
    """What torchdistill was measured for."""
    those = [row for row in rows if 'torchdistill' in row['seconds']]
    if not those:
        return []
    lines = ['### torchdistill', '', '| | torchdistill, seconds | Against mmkd |', '|---|---|---|']
    for row in those:
        seconds = median(row['seconds']['torchdistill'])
        lines.append(f'| {row["pair"]}, {title(row)} | {seconds:.3f} | {ratio(row, "torchdistill", "mmkd")} |')
    return [*lines, '']


def goals(rows: Sequence[dict]) -> list[str]:
    """What is aimed at, and what came out."""
    lines = ['### Goals', '', GOALS_HEAD]
    floors = {f'{row["pair"]}, {title(row)}': ratio(row, 'mmkd', 'floor').median for row in rows}
    worst = max(floors, key=lambda name: floors[name])
    lines.append(
        goal(f'Every phase against its floor; the worst is {worst}', lambda x: x <= 1.05, 'at most 1.05', floors[worst])
    )
    for pair, those in by_pair(stages(rows)).items():
        if pair in LEAST:
            everything = in_equal_epochs(those, 'run everything')
            found = [everything / in_equal_epochs(those, who) for who in ('mmkd', 'frozen_dtype')]
            text = f'SSKD in equal epochs against running everything, {pair}'
            lines.append(goal(text, lambda x, least=LEAST[pair]: x >= least, f'at least {LEAST[pair]}', *found))
    for row in rows:
        if row['method'] == 'MHKD':
            found = [ratio(row, 'run everything', who).median for who in ('mmkd', 'frozen_dtype')]
            text = f'MHKD against running everything, {row["pair"]}'
            lines.append(goal(text, lambda x: x >= 1.3, 'at least 1.3', *found))
    if stages(rows):
        found = [
            max(row['bytes'][who] / row['bytes']['run everything'] for row in stages(rows))
            for who in ('mmkd', 'frozen_dtype')
        ]
        text = 'Memory of an SSKD stage against running everything, the worst'
        lines.append(goal(text, lambda x: x <= 0.6, 'at most 0.6', *found))
    return lines


def goal(text: str, is_reached: Callable[[float], bool], wanted: str, *found: float) -> str:
    """As mmkd is by default, and with frozen forwards in fewer bits where that makes a difference."""
    cells = [cell for value in found for cell in (f'{value:.2f}', 'yes' if is_reached(value) else 'no')]
    return f'| {" | ".join([text, wanted, *cells, *["-"] * (4 - len(cells))])} |'


def title(row: dict) -> str:
    """Of a phase."""
    return f'SSKD, {row["phase"]}' if row['method'] == 'SSKD' else row['method']


def ratio(row: dict, who: str, other: str) -> Ratio:
    """Of the seconds."""
    return Ratio.of(row['seconds'][who], row['seconds'][other])
