"""Trainings that a file names, in the shape of the grid's cells."""

import runpy
from dataclasses import dataclass, field
from pathlib import Path

from mmkd.errors import UserError


@dataclass(eq=False)
class Job:
    """A training.

    Args:
        name: Of its folder and its line.
        config: Its config file.
        options: What is changed in the config; ``{teacher}`` in it is the checkpoint of the job that comes first.
        seed: Of its random numbers.
        teacher: The job that must come first: it trains the teacher.
        metric: What counts on the validation set.
        keep: Whether its network is among the results, in a file.
    """

    name: str
    config: Path
    options_: dict[str, object]
    seed: int = 0
    teacher: 'Job | None' = None
    metric: str = 'accuracy/top1'
    keep: bool = False
    work_dir: Path = field(default=Path('work_dirs/device'))

    @property
    def folder(self) -> Path:
        """Its work dir."""
        return self.work_dir / self.name

    def options(self) -> dict[str, object]:
        """What it changes in the config, with the teacher that is trained by now."""
        options = {**self.options_, 'randomness.seed': self.seed}
        if self.teacher:  # mmengine has left the config that trained it, with its options, beside its checkpoint
            options['model.teacher.config'] = str(self.teacher.folder / self.teacher.config.name)
            options['model.teacher.checkpoint'] = str(self.teacher.checkpoint)
            options = {
                key: _placed(value, dict(teacher=str(self.teacher.checkpoint))) for key, value in options.items()
            }
        return options

    @property
    def checkpoint(self) -> Path | None:
        """The last one that it has saved."""
        pointer = self.folder / 'last_checkpoint'
        return Path(pointer.read_text().strip()) if pointer.is_file() else None


def read_jobs(path: Path, work_dir: Path, places: dict[str, str]) -> list[Job]:
    """The jobs of a Python file, in its order.

    Args:
        path: The file. It defines ``JOBS``, a list of dicts with the arguments of :class:`Job`; ``options`` are as
            after ``--cfg-options``, and ``teacher`` is the name of a job before it.
        work_dir: Where they train.
        places: What stands for ``{name}`` in the options: where data lie.
    """
    if not path.is_file():
        raise UserError(f'--jobs: {path} does not exist.')
    entries = runpy.run_path(str(path)).get('JOBS')
    if not entries:
        raise UserError(f'--jobs: {path} defines no JOBS; it must be a list of dicts with name and config.')
    jobs: dict[str, Job] = {}
    for entry in entries:
        entry = dict(entry)
        name, teacher = entry['name'], entry.pop('teacher', None)
        if name in jobs:
            raise UserError(f'--jobs: {path} names {name} twice.')
        if teacher is not None and teacher not in jobs:
            raise UserError(f'--jobs: the teacher {teacher} of {name} is no job before it in {path}.')
        options = {key: _placed(value, places) for key, value in entry.pop('options', {}).items()}
        entry['config'] = Path(entry['config'])
        jobs[name] = Job(**entry, options_=options, teacher=jobs.get(teacher), work_dir=work_dir)
    return list(jobs.values())


def _placed(value: object, places: dict[str, str]) -> object:
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace(f'{{{name}}}', place)
    return value
