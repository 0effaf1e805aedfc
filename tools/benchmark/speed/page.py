"""docs/benchmarks.md and the figures beside it, of which every part is measured, and may be measured again, apart."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from measuring import GPU

from mmkd.errors import UserError

Table = Callable[[Mapping[str, dict]], list[str]]
"""Makes the lines of a part from the results of all parts, its own among them."""


class Page:
    """The tables of one kind of device, each between two lines that name its part; the text around them stays.

    Args:
        path: Of the page. The figures are in a file of its name that ends in ``cpu.json`` or ``gpu.json``.
        tables: Of each part.
    """

    def __init__(self, path: Path, tables: Mapping[str, Table]):
        self.path, self.tables = path, tables
        self.device = 'gpu' if GPU else 'cpu'
        self.figures = path.with_suffix(f'.{self.device}.json')
        self.results: dict[str, dict] = json.loads(self.figures.read_text()) if self.figures.exists() else {}
        if not path.exists():
            places = ''.join('{}\n{}\n\n'.format(*self._marks(part)) for part in tables)
            path.write_text(f'# Benchmarks\n\n{places}')
        for part in tables:
            self._around(part, path.read_text())

    def add(self, part: str, result: dict) -> None:
        """Keep what was measured, and write all tables anew: some show figures of another part, too."""
        self.results[part] = result
        self.figures.write_text(json.dumps(self.results, indent=1) + '\n')
        self.write()

    def write(self) -> None:
        """The tables of all that has been measured."""
        text = self.path.read_text()
        for part in self.results:
            before, after = self._around(part, text)
            text = '\n'.join([before, *_where(self.results[part]), *self.tables[part](self.results), after])
        self.path.write_text(text)

    def _around(self, part: str, text: str) -> tuple[str, str]:
        begin, end = self._marks(part)
        if begin not in text or end not in text:
            raise UserError(
                f'--out: {self.path} has no place for tables between {begin} and {end}; put the two lines in.'
            )
        return text.partition(begin)[0] + begin, end + text.partition(end)[2]

    def _marks(self, part: str) -> tuple[str, str]:
        return f'<!-- {self.device} {part}: written by make bench -->', f'<!-- {self.device} {part}: end -->'


def _where(result: dict) -> list[str]:
    lines = [f'- {title}: {result[key]}' for key, title in (('device', 'Device'), ('versions', 'Versions'))]
    return [*lines, f'- Measured on {result["date"]}, commit {result["commit"]}, {result["rounds"]} rounds', '']
