"""The column "Ours" of docs/methods.md: what a method's row in an arena reached."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from arena import Arena, Table, read_arena
from files import write_whole
from page import Printed, anchor, spread
from results import CPU, Results

ARENAS = {'_cifar100': 'cifar100_short', '_coco': 'bccd'}  # by the end of the names of a table's configs
ROWS = {  # of an arena, whose keys otherwise are how configs begin
    'cross-kd_retinanet': 'cross-kd-giou',
    'cross-kd_atss': 'cross-kd-atss',
}
CONFIG = re.compile(r'\| \[([\w.-]+)\]\(\.\./configs/')


def write_column(results: Path, page: Path) -> None:
    """Write the last column of the tables of methods, and what the student alone and the teacher have into its head."""
    lines = page.read_text().splitlines()
    for start, table in _tables(lines):
        ours = Ours(table, results)
        lines[start] = _ending_with(lines[start], ours.head)
        for place in range(start + 2, start + len(table)):
            lines[place] = _ending_with(lines[place], ours.cell(_config(lines[place])))
    write_whole(page, '\n'.join([*lines, '']))


class Ours:
    """What was trained on a CPU in the arena that a table's configs belong to.

    Args:
        lines: Of the table.
        results: The folder of all results.
    """

    def __init__(self, lines: list[str], results: Path):
        config = _config(lines[2])
        self.arena = read_arena(next(name for end, name in ARENAS.items() if config.endswith(end)))
        found: Mapping[str, dict] = Results(results / CPU / f'{self.arena.name}.jsonl').read()
        table = _of_all_methods(self.arena)
        self.rows = {row.key: row for row in table.rows}
        self.printed = Printed(self.arena, table, found, CPU)

    @property
    def head(self) -> str:
        """The column's title: where, and what there is to compare with."""
        alone, teacher = (self.printed.scores(key) for key in (self.printed.table.alone, 'teacher'))
        figures = [f'{word} {spread(scores)}' for word, scores in (('alone', alone), ('teacher', teacher)) if scores]
        page = f'results.md#{anchor(self.arena.title)}'
        return '; '.join([f'Ours, [{self.arena.title.partition(":")[0]}]({page})', *figures])

    def cell(self, config: str) -> str:
        """A method's figure, the gain over the student alone, and the seeds."""
        key = next((row for start, row in ROWS.items() if config.startswith(start)), config.partition('_')[0])
        if key not in self.rows:
            return 'has no row there'
        _, seeds, figure, gain, *_ = self.printed.row(self.rows[key])
        if not seeds:
            return figure
        return ', '.join([figure, *filter(None, [gain]), f'seed{"s" * (", " in seeds)} {seeds}'])


def _of_all_methods(arena: Arena) -> Table:
    """The longest table of the page of results."""
    return max((table for table in arena.tables if table.page == 'results'), key=lambda table: len(table.rows))


def _tables(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Where the tables of methods begin, and their lines."""
    for start, line in enumerate(lines):
        if line.startswith('| Method |'):
            end = next((i for i in range(start, len(lines)) if not lines[i].startswith('|')), len(lines))
            yield start, lines[start:end]


def _config(line: str) -> str:
    """The config that a line of a table names."""
    found = CONFIG.search(line)
    assert found is not None, line
    return found[1]


def _ending_with(line: str, cell: str) -> str:
    """A line of a table with another last cell."""
    return f'{line.rstrip().removesuffix("|").rpartition("|")[0]}| {cell} |'
