"""The measured rows as tables in docs/benchmarks.md."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from loading import IMAGES
from measuring import Ratio

from mmkd.errors import UserError

HEAD = (
    '| | Seconds | Against the floor | Run everything, against mmkd | MiB | Against run everything |\n'
    '|---|---|---|---|---|---|'
)


def around(page: Path, kind: str) -> tuple[str, str]:
    """The text before and after the tables of a kind of device, with the lines between which they stand."""
    begin, end = f'<!-- {kind}: written by make bench -->', f'<!-- {kind}: end -->'
    text = page.read_text() if page.exists() else f'# Benchmarks\n\n## Tables\n\n{begin}\n{end}\n'
    if begin not in text or end not in text:
        raise UserError(f'--out: {page} has no place for the tables between {begin} and {end}; put the two lines in.')
    return text.partition(begin)[0] + begin, end + text.partition(end)[2]


def write(page: Path, result: dict, kind: str) -> None:
    """Put the tables in their place on the page; the text around them stays."""
    before, after = around(page, kind)
    made = compiled_tables(result) if kind.endswith('-compiled') else tables(result)
    page.write_text(f'{before}\n{made}\n{after}')


def tables(result: dict) -> str:
    """All that was measured in one run."""
    lines = where(result)
    for pair in dict.fromkeys(row['pair'] for row in result['rows']):
        rows = [row for row in result['rows'] if row['pair'] == pair]
        first = rows[0]
        images = f'{first["batch"]} images of {first["size"]} pixels; the memory is that of {first["images"]} images.'
        lines += [f'### {pair}', '', images, '', HEAD]
        lines += [line(row) for row in rows]
        lines += [schedule(rows), ''] if any(row['method'] == 'SSKD' for row in rows) else ['']
    return '\n'.join([*lines, *foreign(result['rows']), *loading(result['loading']), *goals(result['rows'])])


def compiled_tables(result: dict) -> str:
    """What ``model.compile=True`` gains, and what it takes to compile."""
    lines = [  # what was measured with a warm cache of compiled code was taken out of the figures
        *where(result),
        '| | Seconds | Compiled | Times as fast | Seconds of the first iteration |',
        '|---|---|---|---|---|',
    ]
    for row in result['rows']:
        plain, compiled = row['seconds']['mmkd'], row['seconds']['compiled']
        ratio = spread(Ratio.of(plain, compiled))
        first = f'{row["first"]:.0f}' if 'first' in row else '-'
        cells = f'{median(plain):.3f} | {median(compiled):.3f} | {ratio} | {first}'
        lines.append(f'| {row["pair"]}, {title(row)} | {cells} |')
    starts = {f'{row["pair"]}, {row["method"]}': row['start'] for row in result['rows'] if 'start' in row}
    took = '; '.join(f'{name}: {seconds:.0f}' for name, seconds in starts.items())
    told = f'Seconds that the start took longer, where everything is compiled on trial: {took}.'
    return '\n'.join([*lines, '', told] if took else lines)


def where(result: dict) -> list[str]:
    """The surroundings of all that was measured in one run."""
    lines = [f'- {title}: {result[key]}' for key, title in (('device', 'Device'), ('versions', 'Versions'))]
    return [*lines, f'- Measured on {result["date"]}, commit {result["commit"]}, {result["rounds"]} rounds', '']


def line(row: dict) -> str:
    """One phase."""
    seconds, memory = row['seconds'], row['bytes']
    cells = (
        title(row),
        f'{median(seconds["mmkd"]):.3f}',
        spread(against_floor(row)),
        spread(against_everything(row)),
        f'{memory["mmkd"] / 2**20:.0f}',
        f'{memory["mmkd"] / memory["run everything"]:.2f}',
    )
    return f'| {" | ".join(cells)} |'


def schedule(rows: Sequence[dict]) -> str:
    """SSKD with as many epochs for each phase, as one line."""
    seconds = {who: equal_epochs(rows, who) for who in ('mmkd', 'floor', 'run everything')}
    against = f'{seconds["mmkd"] / seconds["floor"]:.2f} | {seconds["run everything"] / seconds["mmkd"]:.2f}'
    return f'| SSKD, equal epochs | {seconds["mmkd"]:.3f} | {against} | | |'


def equal_epochs(rows: Sequence[dict], who: str) -> float:
    """Seconds of an iteration, on average over the phases of SSKD."""
    return mean(median(row['seconds'][who]) for row in rows if row['method'] == 'SSKD')


def foreign(rows: Sequence[dict]) -> list[str]:
    """What torchdistill was measured for."""
    those = [row for row in rows if 'torchdistill' in row['seconds']]
    if not those:
        return []
    lines = ['### torchdistill', '', '| | torchdistill, seconds | Against mmkd |', '|---|---|---|']
    for row in those:
        seconds = row['seconds']['torchdistill']
        ratio = spread(Ratio.of(seconds, row['seconds']['mmkd']))
        lines.append(f'| {row["pair"]}, {title(row)} | {median(seconds):.3f} | {ratio} |')
    return [*lines, '']


def loading(seconds: dict[str, list[float]]) -> list[str]:
    """The rate of each data set."""
    rates = [f'| `mmkd.{kind}` | {IMAGES / median(those):,.0f} |' for kind, those in seconds.items()]
    title = '### Loading CIFAR-size images, one process without workers'
    return [title, '', '| | Images a second |', '|---|---|', *rates, '']


def goals(rows: Sequence[dict]) -> list[str]:
    """What is aimed at, and what came out."""
    found = []
    floors = {f'{row["pair"]}, {title(row)}': against_floor(row).median for row in rows}
    worst = max(floors, key=lambda name: floors[name])
    found.append(
        (f'Every phase against its floor; the worst is {worst}', 'at most 1.05', floors[worst], floors[worst] <= 1.05)
    )
    for pair, wanted in (('ResNet-34 -> ResNet-18', 2.2), ('RetinaNet R-101 -> R-50', 4.0)):
        stages = [row for row in rows if row['pair'] == pair and row['method'] == 'SSKD']
        if stages:
            ratio = equal_epochs(stages, 'run everything') / equal_epochs(stages, 'mmkd')
            found.append(
                (
                    f'SSKD in equal epochs against running everything, {pair}',
                    f'at least {wanted}',
                    ratio,
                    ratio >= wanted,
                )
            )
    for row in rows:
        if row['method'] == 'MHKD':
            ratio = against_everything(row).median
            found.append((f'MHKD against running everything, {row["pair"]}', 'at least 1.3', ratio, ratio >= 1.3))
    memory = {
        f'{row["pair"]}, {title(row)}': row['bytes']['mmkd'] / row['bytes']['run everything']
        for row in rows
        if row['method'] == 'SSKD'
    }
    if memory:
        worst = max(memory, key=lambda name: memory[name])
        text = f'Memory of an SSKD stage against running everything; the worst is {worst}'
        found.append((text, 'at most 0.6', memory[worst], memory[worst] <= 0.6))
    lines = [
        f'| {text} | {wanted} | {ratio:.2f} | {"yes" if is_reached else "no"} |'
        for text, wanted, ratio, is_reached in found
    ]
    return ['### Goals', '', '| | Wanted | Measured | Reached |', '|---|---|---|---|', *lines]


def title(row: dict) -> str:
    """Of a phase."""
    return f'SSKD, {row["phase"]}' if row['method'] == 'SSKD' else row['method']


def against_floor(row: dict) -> Ratio:
    """Of the seconds."""
    return Ratio.of(row['seconds']['mmkd'], row['seconds']['floor'])


def against_everything(row: dict) -> Ratio:
    """Of the seconds: how many times faster mmkd is."""
    return Ratio.of(row['seconds']['run everything'], row['seconds']['mmkd'])


def spread(ratio: Ratio) -> str:
    """The median and the quartiles."""
    return f'{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})'
