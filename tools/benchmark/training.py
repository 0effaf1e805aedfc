"""Running one training of the grid, once and whole."""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cells import ROOT, Cell, read_json, write_json
from surroundings import surroundings

FAILED = 'FAILED'


def command(cell: Cell) -> list[str]:
    """What trains it."""
    options = [f'{key}={value}'.replace(' ', '') for key, value in cell.options().items()]
    program = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(ROOT / cell.config)]
    return [*program, '--work-dir', str(cell.folder), '--resume', '--cfg-options', *options]


def train(cell: Cell, lock: int) -> int:
    """Train in a process of its own, which keeps the lock if this one is killed; its log goes into a file."""
    with (cell.folder / 'console.log').open('a') as log:
        run = subprocess.run(command(cell), stdout=log, stderr=log, pass_fds=[lock])
    return run.returncode


def run_cell(cell: Cell, train: Callable[[Cell, int], int] = train) -> str:
    """Run a training, go on with it, or leave it if it is finished; say how it went."""
    if cell.result:
        return 'is finished'
    if not (ROOT / cell.config).is_file():
        return f'is not run: {cell.config} does not exist'
    if cell.teacher and not cell.teacher.result:
        return f'is not run: its teacher in {cell.teacher.folder} is not finished'
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 'is left alone: another process trains it'
        return 'is finished' if cell.result else _run_locked(cell, train, lock.fileno())


def _run_locked(cell: Cell, train: Callable[[Cell, int], int], lock: int) -> str:
    begun, options = read_json(cell.folder / 'begun.json'), json.loads(json.dumps(cell.options()))
    if begun is None:
        write_json(cell.folder / 'begun.json', options)
    elif begun != options:
        changed = sorted(key for key in begun.keys() | options.keys() if begun.get(key) != options.get(key))
        return f'{FAILED}: it was begun with another {", ".join(changed)}; remove the folder to begin anew'
    resumed = (cell.folder / 'last_checkpoint').is_file()
    where, start = surroundings(), time.time()
    code = train(cell, lock)
    top1 = accuracies(cell.folder)
    if code or cell.epochs not in top1:
        return f'{FAILED}: see its console.log' + ('' if code else '; its last epoch was not validated')
    best = max(top1, key=lambda epoch: top1[epoch])
    result = dict(
        last=round(top1[cell.epochs], 3),
        best=round(top1[best], 3),
        best_epoch=best,
        seconds=None if resumed else round(time.time() - start),
        **where,
    )
    write_json(cell.folder / 'result.json', result)
    return f'has {result["last"]:.2f} % at the end, {result["best"]:.2f} % at best'


def accuracies(folder: Path) -> dict[int, float]:
    """Top-1 accuracy by epoch, from the logs of every process that worked on it."""
    top1 = {}
    for log in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            scalars = json.loads(line)
            if 'accuracy/top1' in scalars:
                top1[scalars['step']] = scalars['accuracy/top1']
    return top1
