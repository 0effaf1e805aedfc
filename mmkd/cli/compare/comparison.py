"""What a comparison found: rows and columns, as a table of the terminal and as files."""

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.checkpoints.atomic_files import put_whole
from mmkd.errors import UserError, in_one_line

GAP = '  '
STEM = 'comparison'


@dataclass(frozen=True)
class Column:
    """A figure of each row.

    Args:
        key: In rows, CSV and JSON.
        title: In tables.
        text: How it is written in tables.
    """

    key: str
    title: str
    text: Callable[[Any], str] = lambda value: f'{value:.3f}' if abs(value) <= 1 else f'{value:.2f}'

    def cell(self, row: dict) -> str:
        """The text in a row; a dash where it has no such figure."""
        return '-' if row.get(self.key) is None else self.text(row[self.key])


@dataclass(frozen=True)
class Comparison:
    """The figures of several networks.

    Args:
        rows: One a network, with its name, config and checkpoint.
        columns: What tables show beside the name.
        about: How it was measured, by key.
        notes: Sentences for below the table.
    """

    rows: list[dict[str, Any]]
    columns: list[Column]
    about: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def in_terminal(self, width: int) -> str:
        """A table of so many characters; columns that do not fit follow in blocks below."""
        names = [textwrap.wrap(row['name'], max(8, width // 2 - 2)) for row in self.rows]
        first = max(len(line) for name in names for line in name)
        blocks: list[list[Column]] = [[]]
        left = width - first
        for column in self.columns:
            needed = len(GAP) + self._width(column)
            if needed > left and blocks[-1]:
                blocks.append([])
                left = width - first
            blocks[-1].append(column)
            left -= needed
        notes = [line for note in self.notes for line in textwrap.wrap(note, width)]
        return '\n\n'.join([*(self._block(block, names, first) for block in blocks), *filter(None, ['\n'.join(notes)])])

    def markdown(self) -> str:
        """A table of Markdown with its notes."""
        cells = [['', *(column.title for column in self.columns)]]
        cells.append(['---', *('---:' for _ in self.columns)])
        cells += [[row['name'], *(column.cell(row) for column in self.columns)] for row in self.rows]
        escaped = [[cell.replace('|', '\\|') for cell in line] for line in cells]
        lines = [f'| {" | ".join(line)} |' for line in escaped]
        return '\n'.join([*lines, *(f'\n{note}' for note in self.notes)]) + '\n'

    def csv(self) -> str:
        """All figures as they are, a line a network."""
        keys = ['name', *(column.key for column in self.columns), 'config', 'checkpoint']
        file = io.StringIO()
        writer = csv.writer(file, lineterminator='\n')
        writer.writerows([keys, *([_plain(row.get(key)) for key in keys] for row in self.rows)])
        return file.getvalue()

    def json(self) -> str:
        """The same, with how it was measured."""
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.rows]
        return json.dumps(dict(**self.about, notes=self.notes, networks=rows), indent=1, allow_nan=False) + '\n'

    def write(self, folder: Path) -> list[Path]:
        """Write CSV, JSON and Markdown, each of them whole or not at all."""
        texts = {'.csv': self.csv(), '.json': self.json(), '.md': self.markdown()}
        try:
            for suffix, text in texts.items():
                put_whole(folder / (STEM + suffix), text.encode())
        except OSError as error:
            raise UserError(
                f'--out: {folder} cannot be written ({in_one_line(error)}); name another folder.'
            ) from error
        return [folder / (STEM + suffix) for suffix in texts]

    def _width(self, column: Column) -> int:
        return max(len(column.title), *(len(column.cell(row)) for row in self.rows))

    def _block(self, columns: Sequence[Column], names: list[list[str]], first: int) -> str:
        widths = [self._width(column) for column in columns]
        lines = [['', *(column.title for column in columns)]]
        for row, (name, *rest) in zip(self.rows, names):
            lines.append([name, *(column.cell(row) for column in columns)])
            lines += [[more, *('' for _ in columns)] for more in rest]
        return '\n'.join(
            GAP.join([line[0].ljust(first), *(cell.rjust(width) for cell, width in zip(line[1:], widths))]).rstrip()
            for line in lines
        )


def _plain(value: Any) -> Any:
    """A figure that is none, such as NaN, is missing in files."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
