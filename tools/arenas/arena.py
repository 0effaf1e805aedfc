"""What an arena is: data, a pair of networks, a budget, and tables whose rows are trained several times."""

import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmkd.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path(__file__).resolve().parent / 'catalogue'
WORK_DIR = Path('work_dirs/arenas')
IN_ONE_PROCESS: dict[str, object] = {  # options of a config: the training itself loads the images
    f'{loader}.{key}': value
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    for key, value in (('num_workers', 0), ('persistent_workers', False))
}


@dataclass(frozen=True)
class Row:
    """A line of a table: trainings that differ in their seed only.

    Args:
        key: Its name in the file of results.
        title: Its name in the table.
        config: The config file, below ``configs/`` and without ``.py``.
        options: What is changed in the config, as after ``--cfg-options``. A key that begins with ``student.`` means
            the student's model config, wherever it is; ``{teacher}`` in a value is the teacher's checkpoint.
        seeds: Those of the arena if None.
        teacher: The key of the row whose first seed trains the teacher; None if there is none.
    """

    key: str
    title: str
    config: str
    options: Mapping[str, object] = field(default_factory=dict)
    seeds: Sequence[int] | None = None
    teacher: str | None = 'teacher'


@dataclass(frozen=True)
class Table:
    """Rows that are compared with the student alone.

    Args:
        heading: Stands above it.
        rows: In their order; a row may stand in several tables.
        alone: The key of the row that is the student alone.
        page: The page of docs that shows it.
    """

    heading: str
    rows: Sequence[Row]
    alone: str = 'alone'
    page: str = 'results'


@dataclass(frozen=True)
class Arena:
    """Trainings that are compared with each other.

    Args:
        title: Heading on the page.
        text: The protocol, in words.
        tables: What is compared.
        metric: What counts on the validation set, at the end of the training.
        factor: What the metric is multiplied by in the tables.
        also: Other metrics that have a column, and its title.
        options: What is changed in every config.
        seeds: Of rows that name none.
        prepare: Makes the data, or raises a UserError that says how to get them.
        name: The file's, set by :func:`read_arena`.
    """

    title: str
    text: str
    tables: Sequence[Table]
    metric: str = 'accuracy/top1'
    factor: float = 1.0
    also: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1)
    prepare: Callable[[], None] = lambda: None
    name: str = ''

    @property
    def rows(self) -> dict[str, Row]:
        """All rows by key."""
        rows: dict[str, Row] = {}
        for row in (row for table in self.tables for row in table.rows):
            if rows.setdefault(row.key, row) != row:
                raise UserError(f'{self.name}: two rows have the key {row.key}.')
        return rows

    def trainings(self, keys: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> list['Training']:
        """The trainings of some rows, seed by seed, after their teachers."""
        rows = self.rows
        if unknown := [key for key in keys or () if key not in rows]:
            raise UserError(f'--rows: {unknown[0]} is no row of {self.name}; it has {", ".join(rows)}.')
        chosen = [rows[key] for key in keys or rows]
        pairs = [(row, seed) for row in chosen for seed in seeds or row.seeds or self.seeds]
        wanted = [Training(self, row, seed) for row, seed in sorted(pairs, key=lambda pair: pair[1])]
        found: dict[str, Training] = {}
        for training in (part for each in wanted for part in each.chain()):
            found.setdefault(training.name, training)
        return list(found.values())


@dataclass(frozen=True)
class Training:
    """A row with a seed."""

    arena: Arena
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and its line among the results."""
        return f'{self.row.key}_s{self.seed}'

    @property
    def folder(self) -> Path:
        """Its work dir."""
        return WORK_DIR / self.arena.name / self.name

    @property
    def config(self) -> Path:
        """Its config file."""
        return ROOT / 'configs' / f'{self.row.config}.py'

    @property
    def teacher(self) -> 'Training | None':
        """The training that must come first."""
        if self.row.teacher is None:
            return None
        row = self.arena.rows[self.row.teacher]
        return Training(self.arena, row, (row.seeds or self.arena.seeds)[0])

    def chain(self) -> Iterator['Training']:
        """The teacher's teachers first, and this one last."""
        if self.teacher:
            yield from self.teacher.chain()
        yield self

    @property
    def unfinished(self) -> Path:
        """A file that is there from its begin to its end."""
        return self.folder / 'unfinished'

    @property
    def checkpoint(self) -> Path | None:
        """The one that it has saved here at its end."""
        pointer = self.folder / 'last_checkpoint'
        path = Path(pointer.read_text().strip()) if pointer.is_file() else None
        return path if path and path.is_file() and not self.unfinished.exists() else None

    def options(self) -> dict[str, object]:
        """What it changes in the config."""
        options = {**self.arena.options, **self.row.options, 'randomness.seed': self.seed}
        student = 'model.student.' if self.teacher else 'model.'
        options = {
            student + key.removeprefix('student.') if key.startswith('student.') else key: value
            for key, value in options.items()
        }
        if self.teacher:  # mmengine has left the config that trained it, with its options, beside its checkpoint
            options['model.teacher.config'] = str(self.teacher.folder / self.teacher.config.name)
            options['model.teacher.checkpoint'] = '{teacher}'
            checkpoint = str(self.teacher.checkpoint)
            options = {
                key: value.replace('{teacher}', checkpoint) if isinstance(value, str) else value
                for key, value in options.items()
            }
        return options


def read_arena(name: str) -> Arena:
    """The arena of a file in the catalogue, or of another Python file that defines ``ARENA``."""
    path = Path(name) if name.endswith('.py') else CATALOGUE / f'{name}.py'
    if not path.is_file():
        raise UserError(f'{name} is no arena; there are {", ".join(arenas())}.')
    arena = runpy.run_path(str(path)).get('ARENA')
    if not isinstance(arena, Arena):
        raise UserError(f'{path} defines no ARENA.')
    return replace(arena, name=path.stem)


def arenas() -> list[str]:
    """The names of the catalogue."""
    return sorted(path.stem for path in CATALOGUE.glob('*.py'))
