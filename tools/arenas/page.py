"""docs/results.md, docs/levers.md and docs/ablations.md from the arenas' results."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from textwrap import fill

from arena import Arena, Row, Table, arenas, read_arena
from as_costly import against_as_costly, lengths_of
from files import write_whole
from intros import INTRO
from missing import missing
from results import CPU, DIVERGED, FINISHED, Results
from teachers import lead, scores_had, trained_again

from mmkd.errors import UserError

COLUMNS = ('', 'Seeds', 'Last epoch', 'Against alone')
AS_COSTLY = 'In as many core-seconds'


def write_pages(results: Path, docs: Path) -> None:
    """Write the pages: every arena with every result that there is."""
    for page, intro in INTRO.items():
        parts = [with_figures(intro, results)]
        for name in arenas():
            arena = read_arena(name)
            if any(table.page == page for table in arena.tables):
                parts.append(section(arena, results_of(arena, results), page))
        write_whole(docs / f'{page}.md', '\n'.join(parts).rstrip() + '\n')


def results_of(arena: Arena, folder: Path) -> dict[str, dict[str, dict]]:
    """What was trained, by machine and name; the CPU, where everything can be trained, first."""
    machines = sorted((path.name for path in folder.iterdir() if path.is_dir()), key=lambda name: (name != CPU, name))
    return {machine: Results(folder / machine / f'{arena.name}.jsonl').read() for machine in (machines or [CPU])}


def with_figures(text: str, results: Path) -> str:
    """A text in which ``{arena/row}`` stands for the figure of a row, ``{gpu:arena/row}`` for the one on a GPU."""

    def figure(match: re.Match) -> str:
        arena = read_arena(match[2])
        if match[3] not in arena.rows:
            raise UserError(f'{match[0]}: {match[3]} is no row of {arena.name}.')
        for machine, found in results_of(arena, results).items():
            scores = Printed(arena, arena.tables[0], found, machine).scores(match[3])
            if scores and (machine == CPU) is not bool(match[1]):
                return spread(scores)
        return 'not run'

    return re.sub(r'\{(gpu:)?(\w+)/([\w.-]+)\}', figure, text)


def section(arena: Arena, found: Mapping[str, Mapping[str, dict]], page: str) -> str:
    """An arena: its protocol, and its tables on a page, one for each machine that has results."""
    paragraphs = '\n\n'.join(fill(paragraph, 120) for paragraph in arena.text.split('\n\n'))
    lines = [f'## {arena.title}', '', paragraphs, '']
    for table in (table for table in arena.tables if table.page == page):
        parts = [Printed(arena, table, results, machine) for machine, results in found.items()]
        some = [part for part in parts if any(part.of(row.key) for row in table.rows)]
        printed = [part for part in some if part.of(table.alone)] or some[:1]  # else there is nothing to compare with
        if not printed:
            lines += [f'### {table.heading}', ''] if table.heading else []
            lines += ['Not run yet.', '']
        for part in printed:
            on = f'on {"one " if part.machine != CPU else "a "}{part.device}'
            where = '' if len(printed) == 1 else f', trained {on}' if table.heading else f'Trained {on}'
            lines += [f'### {table.heading}{where}', ''] if table.heading or where else []
            lines += [*part.lines(is_first=part is printed[0]), '']
    return '\n'.join([*lines, *(missing(arena, found) if page == 'results' else []), ''])


@dataclass
class Printed:
    """A table with the results of one machine, of the whole arena."""

    arena: Arena
    table: Table
    found: Mapping[str, dict]
    machine: str

    def __post_init__(self):
        self.where: dict[tuple[str, str], list[str]] = {}  # device and versions, commit: the rows' dates

    @property
    def device(self) -> str:
        """The machine, as torch calls it."""
        return 'CPU' if self.machine == CPU else next(iter(self.found.values()))['device']

    def lines(self, is_first: bool) -> list[str]:
        """The teacher's lead, the table, and where its rows were trained.

        What was not run is listed once, in the results on the first machine.
        """
        lists_all = is_first and self.table.page == 'results'
        rows = [self.row(row) for row in self.table.rows if lists_all or self.of(row.key)]
        time = 'Core-seconds' if self.machine == CPU else 'Seconds'
        equal = [AS_COSTLY] if self.machine == CPU else []
        columns = [*COLUMNS, *equal, *self.arena.also.values(), 'R2 of the stages', time, 'Where']
        lines = [*self.lead(), f'| {" | ".join(columns)} |', '|---' * len(columns) + '|']
        lines += [f'| {" | ".join(row)} |' for row in rows]
        for letter, ((device, commit), dates) in zip(_letters(), self.where.items()):
            lines += ['', f'{letter}: {device}, commit {commit}, {_range(dates)}.']
        again = trained_again(self.arena, [(row, self.of(row.key)) for row in self.table.rows], self.found)
        return [*lines, '', again] if again else lines

    def scores(self, key: str) -> list[float]:
        """The figures of a row's seeds."""
        return [self.arena.factor * result['last'] for result in self.of(key) if result['state'] == FINISHED]

    def of(self, key: str) -> list[dict]:
        """The results of a row by seed."""
        rows = [result for name, result in self.found.items() if name.rpartition('_s')[0] == key]
        return sorted(rows, key=lambda result: result['seed'])

    def lead(self) -> list[str]:
        """How far the teacher is ahead of the student alone."""
        return [lead(self.taught, self.scores(self.table.alone)), '']

    @property
    def taught(self) -> list[float]:
        """The figures of the teachers that the students had, where their logs tell; else of the teacher's row."""
        teacher = next(row for row in self.table.rows if row.teacher is None and row.key.endswith('teacher'))
        taught = [result for row in self.table.rows if row.teacher == teacher.key for result in self.of(row.key)]
        recorded = self.scores(teacher.key)
        exact = {f'{figure:.1f}': figure for figure in recorded}
        had = [exact.get(figure, float(figure)) for figure in scores_had(self.arena, taught)]
        return sorted(had or recorded)

    def row(self, row: Row) -> list[str]:
        """A line of the table."""
        results, scores = self.of(row.key), self.scores(row.key)
        done = [result for result in results if result['state'] == FINISHED]
        diverged = [str(result['seed']) for result in results if result['state'] == DIVERGED]
        said = [f'seed {", ".join(diverged)} diverged'] if diverged else []
        if not done:
            blank = 4 + (self.machine == CPU) + len(self.arena.also)
            return [row.title, '', *(said or ['cut' if results else 'not run']), *[''] * blank]
        alone = self.scores(self.table.alone)
        is_other = row.key != self.table.alone
        return [
            row.title,
            ', '.join(str(result['seed']) for result in done),
            '; '.join([spread(scores), *said]),
            f'{mean(scores) - mean(alone):+.1f}' if alone and is_other else '',
            *([self.as_costly(row)] if self.machine == CPU else []),
            *(spread([result['also'][name] for result in done]) for name in self.arena.also),
            explained(done[0]),
            seconds(done, 'core_seconds' if self.machine == CPU else 'seconds'),
            ', '.join(dict.fromkeys(self.letter(result) for result in done)),
        ]

    def as_costly(self, row: Row) -> str:
        """A method against the student alone in as many core-seconds, whatever the table has of its lengths."""
        rows = self.arena.rows
        lengths = lengths_of(rows[self.table.alone], list(rows.values()))
        return against_as_costly(row, lengths, self.of, self.arena.factor)

    def letter(self, result: dict) -> str:
        """What stands for the place where a result was made."""
        place = f'{result["device"]}, {result["versions"]}', result['commit']
        self.where.setdefault(place, []).append(result['date'])
        return _letters()[list(self.where).index(place)]


def anchor(title: str) -> str:
    """What a link to a heading ends with."""
    return re.sub('[^a-z0-9 -]', '', title.lower()).replace(' ', '-')


def spread(values: Sequence[float]) -> str:
    """Mean, and the lowest and highest of several."""
    return f'{mean(values):.1f}' + (f' ({min(values):.1f} to {max(values):.1f})' if len(values) > 1 else '')


def explained(result: dict) -> str:
    """R2 of the stages, from what the log said of them on the validation set."""
    parts = ', '.join(result.get('measured', {}).values()).split(', ')
    return ' '.join(f'{float(part.split()[-1]):.2f}' for part in parts if part.startswith('r2_'))


def seconds(results: Sequence[dict], key: str) -> str:
    """The mean; nothing where a process was killed before it could tell."""
    known = [result[key] for result in results if result.get(key)]
    return f'{mean(known):.0f}' if known else 'not measured'


def _letters() -> str:
    return 'abcdefghijklmnopqrstuvwxyz'


def _range(dates: Sequence[str]) -> str:
    return min(dates) if min(dates) == max(dates) else f'{min(dates)} to {max(dates)}'
