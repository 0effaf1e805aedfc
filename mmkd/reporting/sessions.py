"""What a run left each time it was started: a resumed run has several of these folders."""

from dataclasses import dataclass
from pathlib import Path

from mmkd.reporting.log import Log, read_log
from mmkd.reporting.scalars import read_scalars

CLOCKS = {'time', 'data_time', 'step', 'epoch', 'iter', 'memory', 'grad_norm', 'loss_scale', 'stage'}


@dataclass
class Session:
    """What one start of a run logged.

    Args:
        config: The file with its config.
        log: What its text log tells.
        training: The logged iterations.
        validation: The metrics, each record with its ``iteration``.
        measures: Of stages on the validation set, each with its ``iteration``.
    """

    config: Path
    log: Log
    training: list[dict]
    validation: list[dict]
    measures: list[dict]


def read_session(folder: Path) -> Session | None:
    """The session of such a folder, None if nothing was learned in it: mmengine writes one for a test, too."""
    scalars, config = folder / 'vis_data' / 'scalars.json', folder / 'vis_data' / 'config.py'
    if not config.is_file():
        return None
    texts = sorted(folder.glob('*.log'))
    log = read_log(texts[0]) if texts else Log()
    records = read_scalars(scalars) if scalars.is_file() else []
    training = [record for record in records if 'lr' in record and isinstance(record.get('iter'), int)]
    if not training and not log.phases:
        return None
    if log.per_epoch is None and training and 'epoch' in training[0]:
        log.per_epoch = max(-(-record['iter'] // record['epoch']) for record in training)
    session = Session(config, log, training, [], [])
    last = 0
    for record in records:
        if 'lr' in record:
            last = record.get('iter', last)
        elif isinstance(record.get('step'), int):
            _sort_in(record, last, session)
    return session


def _sort_in(record: dict, last: int, session: Session) -> None:
    """Metrics are logged at epochs (0 in an iteration loop), the rest at iterations; all go on the iterations' axis."""
    values = {key: value for key, value in record.items() if key not in CLOCKS and isinstance(value, int | float)}
    measures = {key.removeprefix('val_'): value for key, value in values.items() if key.startswith('val_')}
    metrics = {key: value for key, value in values.items() if not key.startswith('val_') and not _is_empty(key, value)}
    step = record['step']
    if measures:
        session.measures.append({**measures, 'iteration': step})
    if metrics:
        if per_epoch := session.log.per_epoch:
            at = step * per_epoch if step < last or not session.training else step
        else:
            at = max(step, last)
        session.validation.append({**metrics, 'iteration': at})


def _is_empty(key: str, value: float) -> bool:
    """Whether COCO's metric says that there is no object of a size."""
    return value == -1 and 'mAP' in key
