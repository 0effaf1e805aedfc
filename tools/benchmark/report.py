"""docs/results.md from the results on the disk."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from textwrap import fill

from cells import METHODS, ROOT, Cell
from protocols import PROTOCOLS, Protocol

INTRO = """# Results on CIFAR-100

Written by `make results` (`tools/benchmark/results.py`) from trainings; no number is entered by hand, and misses are
printed like hits. Top-1 accuracy on the test images in per cent: mean over the seeds, in brackets the lowest and the
highest. The last epoch is the result. The best epoch is chosen on the test images themselves and stands there for
comparison only. The minutes count whatever else the machine did meanwhile: see the benchmarks for what a method costs.
"""
PUBLISHED = {  # on the common protocol, by the benchmark's authors
    'resnet56_resnet20': dict(
        teacher=72.34, student=69.06, kd=70.66, others='FitNet 69.21, AT 70.55, RKD 69.61, CRD 71.16, DKD 71.97'
    ),
    'wrn40-2_wrn16-2': dict(
        teacher=75.61, student=73.26, kd=74.92, others='FitNet 73.58, AT 74.08, RKD 73.35, CRD 75.48, DKD 76.23'
    ),
    'resnet32x4_resnet8x4': dict(
        teacher=79.42, student=72.50, kd=73.33, others='FitNet 73.50, AT 73.44, RKD 71.90, CRD 75.51, DKD 76.32'
    ),
}
YARDSTICKS = dict(teacher='teacher', student='student alone', kd='KD')
COLUMNS = ('', 'Seeds', 'Last epoch', 'Best epoch', 'Against the student alone', 'Minutes')


def write_report(path: Path) -> None:
    """Write the page: every protocol with every result that there is."""
    path.write_text('\n'.join([INTRO, *(section(protocol) for protocol in PROTOCOLS.values())]))


def section(protocol: Protocol) -> str:
    """One protocol: what it is, where it ran, and a table for each pair of networks."""
    tables, results = [], []
    for pair in PROTOCOLS['common'].pairs:
        cells = {method: finished(protocol, pair, method) for method in ('teacher', *METHODS)}
        if pair in protocol.pairs or any(cells[method] for method in METHODS):
            tables.append(table(protocol, pair, cells))
            results += [result for found in cells.values() for result in found.values()]
    lines = [f'## Protocol `{protocol.name}`', '', fill(protocol.text, 120), '']
    for key, title in (('device', 'Device'), ('versions', 'Versions'), ('commit', 'Commit'), ('date', 'Trained on')):
        values = dict.fromkeys(result[key] for result in sorted(results, key=lambda result: result['date']))
        lines += [f'- {title}: {"; ".join(values)}'] if values else []
    return '\n'.join([*lines, *([''] if results else []), *tables])


def finished(protocol: Protocol, pair: str, method: str) -> dict[int, dict]:
    """The results of all seeds."""
    if method == 'teacher':
        cells = [Cell(protocol, pair.split('_')[0], method)]
    else:
        folders = Cell(protocol, pair, method).folder.parent.glob('seed*')
        cells = [Cell(protocol, pair, method, int(folder.name[4:])) for folder in folders]
    return {cell.seed: cell.result for cell in sorted(cells, key=lambda cell: cell.seed) if cell.result}


def table(protocol: Protocol, pair: str, cells: dict[str, dict[int, dict]]) -> str:
    """A pair's table, with the published numbers where the protocol is theirs."""
    published = PUBLISHED.get(pair, {}) if protocol.name == 'common' else {}
    columns = [*COLUMNS, 'Against published'] if published else COLUMNS
    lines = [f'### {" teaches ".join(pair.split("_"))}', '']
    if any(cells.values()):
        lines += [f'| {" | ".join(columns)} |', '|---' * len(columns) + '|']
        for method in cells:
            lines.append(f'| {" | ".join(row(protocol, pair, method, cells, published)[: len(columns)])} |')
    else:
        lines.append('Not run.')
    if published:
        numbers = ', '.join(f'{name} {published[key]:.2f}' for key, name in YARDSTICKS.items())
        text = f"Published by the benchmark's authors: {numbers}, {published['others']}. "
        lines += ['', fill(text + 'A method that is not among them is compared with their KD.', 120)]
    return '\n'.join([*lines, ''])


def row(protocol: Protocol, pair: str, method: str, cells: dict[str, dict[int, dict]], published: dict) -> list[str]:
    """A method's line in a pair's table."""
    title = METHODS[method][0] if method in METHODS else f'Teacher ({protocol.teacher_epochs} epochs)'
    found = cells[method]
    if not found:
        cell = Cell(protocol, pair, method) if method in METHODS else Cell(protocol, pair.split('_')[0], method)
        return [
            title,
            'not run' + ('' if (ROOT / cell.config).is_file() else f': no `{cell.config}`'),
            *[''] * len(COLUMNS),
        ]
    last, best = ([result[key] for result in found.values()] for key in ('last', 'best'))
    alone = [result['last'] for result in cells['student'].values()]
    minutes = [result['seconds'] / 60 for result in found.values() if result['seconds']]
    return [
        title,
        ', '.join(map(str, found)),
        spread(last),
        spread(best),
        f'{mean(last) - mean(alone):+.2f}' if alone and method != 'student' else '',
        f'{mean(minutes):.1f}' if minutes else 'interrupted',
        f'{mean(last) - published.get(method, published["kd"]):+.2f}' if published else '',
    ]


def spread(values: Sequence[float]) -> str:
    """Mean, and the lowest and highest of several."""
    return f'{mean(values):.2f}' + (f' ({min(values):.2f} to {max(values):.2f})' if len(values) > 1 else '')
