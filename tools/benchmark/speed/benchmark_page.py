"""Writes docs/benchmarks.md and the measured figures; each part can be measured separately."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from files import read_json, write_json, write_whole

from mmkd.errors import UserError

Results = Mapping[str, Sequence[dict]]
"""The rows of each part that has been measured."""
Table = Callable[[Results], list[str]]
"""Makes the lines of a part from all results, its own among them."""
WHAT = ('pair', 'method', 'phase', 'group', 'program', 'dataset')  # these identify a row
WHERE = dict(device='{}', versions='{}', date='{}', commit='commit {}', rounds='{} rounds')
MACHINE = ('device', 'versions')
NOT_IN_TIME = dict(mmkd='not measured in time')
"""The errors of a row that was planned only."""


class Page:
    """The tables for one kind of device, each between two marks that name its part; other text is left unchanged.

    Args:
        path: Of the page. The figures are in a file of its name that ends in ``cpu.json`` or ``gpu.json``.
        tables: Of each part.
        device: ``'cpu'`` or ``'gpu'``.
    """

    def __init__(self, path: Path, tables: Mapping[str, Table], device: str):
        self.path, self.tables, self.device = path, tables, device
        self.figures = path.with_suffix(f'.{self.device}.json')
        self.results: dict[str, list[dict]] = read_json(self.figures) or {}
        if not path.parent.is_dir():
            raise UserError(f'--out: there is no folder {path.parent}.')
        text = path.read_text() if path.exists() else '# Benchmarks\n'
        if f'<!-- {self.device} ' not in text:  # the first measurement on such a device
            write_whole(path, '\n'.join([text, *('{}\n{}\n'.format(*self._marks(part)) for part in tables)]))
        self._text(self.results)
        for part in tables:
            self._around(part, path.read_text())

    def add(self, part: str, rows: Sequence[dict]) -> None:
        """Keep the measured rows, and write all tables again, since some use rows of other parts."""
        results = {**self.results, part: _merged(self.results.get(part, ()), rows)}
        text = self._text(results)
        self.results = results
        write_json(self.figures, results)
        write_whole(self.path, text)

    def write_tables(self) -> None:
        """Write the tables from the kept figures."""
        write_whole(self.path, self._text(self.results))

    def _text(self, results: dict[str, list[dict]]) -> str:
        text = self.path.read_text()
        said: set[str] = set()
        for part in sorted(results, key=lambda part: text.find(self._marks(part)[0])):
            before, after = self._around(part, text)
            tables = [*_where(results[part], said), *self.tables[part](results), *not_measured(results[part])]
            text = '\n'.join([before, *tables, after])
        return text

    def _around(self, part: str, text: str) -> tuple[str, str]:
        begin, end = self._marks(part)
        if begin not in text or end not in text:
            raise UserError(
                f'--out: {self.path} has no place for tables between {begin} and {end}; put the two lines in.'
            )
        return text.partition(begin)[0] + begin, end + text.partition(end)[2]

    def _marks(self, part: str) -> tuple[str, str]:
        return f'<!-- {self.device} {part}: written by make bench -->', f'<!-- {self.device} {part}: end -->'


def _what(row: dict) -> tuple:
    return tuple(row.get(key) for key in WHAT)


def _merged(known: Sequence[dict], rows: Sequence[dict]) -> list[dict]:
    """The last row of each name, but what was planned only gives way to what was measured, a method to its phases."""
    found = {_what(row): row for row in known}
    for row in rows:
        if row['seconds'] and row.get('phase'):
            found.pop(_what({**row, 'phase': None}), None)  # why the whole method failed before
        if not _is_planned(row) or not found.get(_what(row), {}).get('seconds'):
            found[_what(row)] = row
    begun = {(row.get('pair'), row.get('method')) for row in found.values() if row.get('phase')}
    return [
        row
        for row in found.values()
        if row.get('phase') or not _is_planned(row) or (row.get('pair'), row.get('method')) not in begun
    ]


def _is_planned(row: dict) -> bool:
    return row.get('errors') == NOT_IN_TIME


def not_measured(rows: Sequence[dict]) -> list[str]:
    """What failed or was cut off, and why."""
    phases: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for who, why in row.get('errors', {}).items():
            phases.setdefault((f'{row["pair"]}, {row["method"]}', who, why), []).append(row['phase'])
    lines = [
        f'- {", ".join(filter(None, [title, *names]))}; {who}: {why}' for (title, who, why), names in phases.items()
    ]
    return ['', 'Not measured:', '', *lines] if lines else []


def _where(rows: Sequence[dict], said: set[str]) -> list[str]:
    """Describe the environments of the measurements; each machine is named once on a page."""
    found = {key: dict.fromkeys(form.format(row[key]) for row in rows) for key, form in WHERE.items()}
    new = [value for key, values in found.items() for value in values if key not in MACHINE or value not in said]
    said.update(new)
    return [f'Measured: {"; ".join(new)}.', '']
