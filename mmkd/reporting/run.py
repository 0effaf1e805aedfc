"""A run, as its work dir tells it."""

from dataclasses import dataclass
from pathlib import Path

from mmkd.errors import UserError
from mmkd.reporting.log import Log
from mmkd.reporting.sessions import Session, read_session
from mmkd.reporting.settings import read_settings
from mmkd.utils.signatures import bare_name


@dataclass
class Run:
    """What is known of one training.

    Args:
        folder: Its work dir.
        name: Short, and different from the others'.
        settings: Its config.
        log: What the text logs tell, of all its starts.
        training: The logged iterations.
        validation: The metrics, each record with its ``iteration``.
        measures: Of stages on the validation set, each with its ``iteration``.
    """

    folder: Path
    name: str
    settings: dict
    log: Log
    training: list[dict]
    validation: list[dict]
    measures: list[dict]

    @property
    def method(self) -> str:
        """The method by its class, or none."""
        if 'student' not in self.settings['model']:
            return 'alone'
        return bare_name(self.settings['model'].get('type'))

    @property
    def student(self) -> dict:
        """The config of the network that learns."""
        return self.settings['model'].get('student', self.settings['model'])

    @property
    def epochs(self) -> int | None:
        """Of the budget; None if it counts iterations."""
        count = self.settings.get('train_cfg', {}).get('max_epochs')
        return count if isinstance(count, int) and self.log.per_epoch else None

    @property
    def budget(self) -> int | None:
        """In iterations, if it is known."""
        if self.epochs is not None:
            return self.epochs * (self.log.per_epoch or 1)
        count = self.settings.get('train_cfg', {}).get('max_iters')
        return count if isinstance(count, int) else None

    @property
    def at(self) -> int:
        """The last iteration that anything is known of."""
        records = [record['iter'] for record in self.training[-1:]]
        return max([*records, *(record['iteration'] for record in self.validation[-1:])], default=0)

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end."""
        ended = sum(stage.iterations for stage in self.log.ended)
        validated = self.validation[-1]['iteration'] if self.validation else 0
        return self.budget is not None and max(ended + self.log.resumed_at, validated) >= self.budget

    @property
    def metrics(self) -> list[str]:
        """The names of the validation's metrics, the most important first."""
        best = self.settings.get('default_hooks', {}).get('checkpoint')
        best = best.get('save_best') if isinstance(best, dict) else None
        names = dict.fromkeys(key for record in self.validation for key in record if key != 'iteration')
        if isinstance(best, str) and best in names:
            return list(dict.fromkeys([best, *names]))
        return list(names)

    @property
    def phases(self) -> list[tuple[str, int, int]]:
        """The name of each phase of the schedule and the iterations at which it begins and ends."""
        scale = (self.log.per_epoch or 1) if self.log.unit == 'epochs' else 1
        begin, found = 0, []
        for name, length in self.log.phases:
            found.append((name, begin, begin + length * scale))
            begin += length * scale
        return found


def read_run(work_dir: str | Path) -> Run:
    """Read what a run left, or tell why there is nothing to read.

    Raises:
        UserError: It is no work dir of a training.
    """
    folder = Path(work_dir).expanduser()
    if folder.is_file():
        raise UserError(f'{work_dir}: it is a file, not the folder of a run; name its work dir.')
    if not folder.is_dir():
        raise UserError(f'{work_dir}: there is no such folder; name the work dir of a run.')
    began = sorted(path.parent for path in folder.glob('*/vis_data'))
    sessions = [session for path in began if (session := read_session(path)) is not None]
    if not sessions:
        raise UserError(f'{work_dir}: {_why_none(folder, began)}')
    run = Run(folder, folder.resolve().name, read_settings(sessions[-1].config), Log(), [], [], [])
    for session in sessions:
        _go_on(run, session)
    return run


def _go_on(run: Run, session: Session) -> None:
    """What a session began with is all that counts of those before."""
    begin = session.log.resumed_at
    if begin == 0 and not session.training:  # not a single iteration was logged
        run.log = run.log if run.log.phases else session.log
        return
    run.training = [record for record in run.training if record['iter'] <= begin] + session.training
    for name in ('validation', 'measures'):
        kept = [record for record in getattr(run, name) if record['iteration'] <= begin]
        setattr(run, name, kept + getattr(session, name))
    before = run.log
    run.log = session.log
    if begin:
        run.log.per_epoch = run.log.per_epoch or before.per_epoch
        run.log.ended = [stage for stage in before.ended if stage.iterations] + run.log.ended
        run.log.teacher_score = run.log.teacher_score or before.teacher_score


def _why_none(folder: Path, began: list[Path]) -> str:
    if began:
        return 'nothing was logged there yet; try again when the training has logged its first iterations.'
    runs = sorted({path.parents[1] for path in folder.glob('*/*/vis_data')})
    if runs:
        more = f' and {len(runs) - 3} more' if len(runs) > 3 else ''
        return f'it is no work dir, but holds some: {", ".join(map(str, runs[:3]))}{more}; name those.'
    if (folder / 'vis_data').is_dir():
        return f'it is one start of a run; name the work dir around it, {folder.parent}.'
    return (
        'it holds no log of a training (no */vis_data/scalars.json, which the LocalVisBackend writes); name the work '
        'dir of a run of mmkd, mmpretrain or mmdet.'
    )
