"""All arenas in one table: what each method gains over the student alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from arena import Row, arenas, read_arena
from files import write_between
from methods import METHODS
from page import Printed, anchor
from results import CPU, Results
from teachers import from_to

BEGIN, END = '<!-- glance: written by make results -->', '<!-- glance: end -->'
COLUMNS = {  # and the rows that stand in them, with what is said before each
    METHODS[key][0].replace('*', ''): {METHODS[key][0]: '', **{METHODS[form][0]: f'{name} ' for form, name in forms}}
    for key, *forms in (
        ['kd'],
        ['mhkd'],
        ['featurekd', ('featurekd-soft', 'soft')],
        ['sskd', ('less-soft', 'soft 0.3'), ('soft', 'soft 1.0')],
    )
}
ALONE = 'Student alone'


def write_glance(results: Path, page: Path) -> None:
    """Put the table into a page, between the marks."""
    columns = ['Arena', "Teacher's lead", *COLUMNS, f'{ALONE}, longer']
    lines = [f'| {" | ".join(columns)} |', '|---' * len(columns) + '|']
    lines += [f'| {" | ".join(cells)} |' for name in arenas() for cells in rows(name, results)]
    write_between(page, BEGIN, END, lines)


def rows(arena_name: str, results: Path) -> Iterator[list[str]]:
    """A line for each table of the arena that was trained on a CPU and has methods that no table before it has."""
    arena = read_arena(arena_name)
    found = Results(results / CPU / f'{arena_name}.jsonl').read()
    link, seen = f'[{arena.title.partition(":")[0]}](results.md#{anchor(arena.title)})', set[str]()
    shown = [title for titles in COLUMNS.values() for title in titles]
    for table in (table for table in arena.tables if table.page == 'results'):
        compared = Compared(Printed(arena, table, found, CPU))
        methods = {row.key for row in table.rows if row.title in shown}
        if any(compared.gains) and not methods <= seen:
            heading = table.heading.partition('; about')[0]
            place = ': '.join(filter(None, [link, heading[:1].lower() + heading[1:]]))
            yield [place, compared.lead, *compared.gains, compared.longer]
        seen |= methods


@dataclass
class Compared:
    """A table of results against its student alone."""

    printed: Printed

    @property
    def lead(self) -> str:
        """How far the teacher is ahead."""
        alone = self.printed.scores(self.printed.table.alone)
        return from_to([each - mean(alone) for each in self.printed.taught]) if alone and self.printed.taught else ''

    @property
    def gains(self) -> list[str]:
        """What each method gains, and the number of its seeds; with soft targets behind."""
        gains = {row.title: self._gain(row) for row in self.printed.table.rows}
        return [
            '; '.join(f'{said}{gains[title]}' for title, said in forms.items() if gains.get(title))
            for forms in COLUMNS.values()
        ]

    @property
    def longer(self) -> str:
        """The best that the student alone reaches in another length, and which."""
        others = [row for row in self.printed.table.rows if row.key != self.printed.table.alone]
        named = [(self._gain(row), row.title.removeprefix(f'{ALONE}, ')) for row in others if ALONE in row.title]
        gains = [(gain, length) for gain, length in named if gain and length != ALONE]
        return ', '.join(max(gains, key=lambda each: float(each[0].partition(' ')[0]), default=()))

    def _gain(self, row: Row) -> str:
        """A row's mean against that of the student alone; nothing where one of them was not run."""
        scores, alone = self.printed.scores(row.key), self.printed.scores(self.printed.table.alone)
        return f'{mean(scores) - mean(alone):+.1f} ({len(scores)})' if scores and alone else ''
