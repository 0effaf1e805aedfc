#!/usr/bin/env python3
"""Train a teacher and its small student in several ways with few labels, and compare them: python tools/demo.py"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout needs no installation

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

import torch

from mmkd.cli.compare import Column, Comparison, compare
from mmkd.cli.compare.candidates import candidates
from mmkd.cli.report import write_report
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError

PROGRESS = re.compile(r'(epoch )?[\d,]+/[\d,]+  ')  # of the short log
TEACHER, STUDENT = 'baselines/resnet18-w32_digits.py', 'baselines/resnet18-w16_digits.py'


@dataclass(frozen=True)
class Training:
    """A training: its config, and its row in the table."""

    name: str
    config: str
    labels: int

    def folder(self, root: Path) -> Path:
        """The work dir, below another root."""
        return root / Path(self.config).stem

    def record(self, root: Path) -> Path:
        """The file that marks a successful training."""
        return self.folder(root) / 'demo.json'


FIRST = Training('teacher', TEACHER, 1437)
ALONE = Training('student alone', 'baselines/resnet18-w16_digits-5-labels.py', 50)
DISTILLED = [
    Training('MHKD', 'mhkd/mhkd_resnet18-w32_resnet18-w16_digits-5-labels.py', 50),
    Training('KD', 'kd/kd_resnet18-w32_resnet18-w16_digits-5-labels.py', 50),
    Training('SSKD', 'sskd/sskd_resnet18-w32_resnet18-w16_digits-5-labels.py', 50),
    Training('SSKD, stages only', 'sskd/sskd_resnet18-w32_resnet18-w16_digits-no-labels.py', 0),
]
ROWS = [FIRST, ALONE, *DISTILLED[1::-1], *DISTILLED[2:]]


def checkpoint(folder: Path) -> Path:
    """The last checkpoint, named by mmengine's pointer."""
    return folder / Path((folder / 'last_checkpoint').read_text().strip()).name


def options_of(training: Training, root: Path, args: Namespace) -> list[str]:
    """The changes to its config."""
    options = [f'randomness.seed={args.seed}', *args.cfg_options]
    if args.iterations and training is not FIRST:
        keys = 'train_cfg.max_iters', 'train_cfg.val_interval', 'default_hooks.checkpoint.interval'
        options += [f'{key}={args.iterations}' for key in keys]
    if training in DISTILLED:
        options.append(f'model.teacher.checkpoint={checkpoint(FIRST.folder(root))}')
    return options


def is_done(training: Training, root: Path, options: list[str]) -> bool:
    """Whether it has ended successfully with these options, and after its teacher's training."""
    record = training.record(root)
    if not record.is_file() or json.loads(record.read_text())['options'] != options:
        return False
    return training not in DISTILLED or record.stat().st_mtime >= FIRST.record(root).stat().st_mtime


def train(training: Training, args: Namespace) -> str:
    """Train in a separate process on one thread, unless that is done; describe the result."""
    root = args.work_dir
    options, folder = options_of(training, root, args), training.folder(root)
    if is_done(training, root, options):
        return f'{training.name}: kept, since {folder} has it'
    folder.mkdir(parents=True, exist_ok=True)
    training.record(root).unlink(missing_ok=True)
    print(f'{training.name}: begins, configs/{training.config}\n', end='', flush=True)
    program = [sys.executable, ROOT / 'tools' / 'train.py', ROOT / 'configs' / training.config]
    begin, log = time.monotonic(), folder / 'console.log'
    with (
        log.open('w') as file,
        subprocess.Popen(
            [*program, '--work-dir', folder, '--log', 'short', '--cfg-options', *options],
            stdout=subprocess.PIPE,
            stderr=file,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            text=True,
        ) as done,
    ):
        for line in done.stdout or ():
            print(line, end='', file=file, flush=True)
            if PROGRESS.match(line):
                print(f'{training.name}: {line}', end='', flush=True)
    if done.returncode:
        raise UserError(f'{training.name} failed; its log is {log}')
    seconds = round(time.monotonic() - begin)
    training.record(root).write_text(json.dumps(dict(options=options, seconds=seconds)))
    return f'{training.name}: done in {seconds} s'


def train_all(trainings: Sequence[Training], args: Namespace) -> None:
    """Train side by side; after a failure, start nothing more."""
    pool = ThreadPoolExecutor(args.jobs)
    try:
        for future in as_completed([pool.submit(train, training, args) for training in trainings]):
            print(future.result(), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


def compare_all(root: Path) -> Comparison:
    """Compare all networks, as ``mmkd compare`` does, with what their training took."""
    torch.set_num_threads(1)
    pairs = [(str(ROOT / 'configs' / plain_config(row)), str(checkpoint(row.folder(root)))) for row in ROWS]
    found = compare(candidates(pairs, [row.name for row in ROWS], 'test'), batch_size=64)
    spent = [dict(labels=row.labels, seconds=json.loads(row.record(root).read_text())['seconds']) for row in ROWS]
    return replace(
        found,
        rows=[{**row, **more} for row, more in zip(found.rows, spent)],
        columns=[
            Column('labels', 'labels', '{:,}'.format),
            *found.columns,
            Column('seconds', 'training', '{} s'.format),
        ],
        notes=[*found.notes, 'Labels: how many training images were seen with theirs.'],
    )


def plain_config(row: Training) -> str:
    """The config that tests the network of a training."""
    return TEACHER if row is FIRST else STUDENT


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs'), help='the trainings work below it [work_dirs]'
    )
    parser.add_argument('--seed', type=int, default=0, help='of all trainings [0]')
    most = min(2, os.cpu_count() or 1)
    parser.add_argument('--jobs', action=WholeNumber, of='trainings', default=most, help='trainings side by side [2]')
    parser.add_argument('--iterations', action=WholeNumber, help="of each student [its config's]")
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all trainings [none]')
    args = parser.parse_args()
    print(f'Handwritten digits; the trainings and their logs (console.log) lie below {args.work_dir}.', flush=True)
    train_all([FIRST, ALONE], args)
    train_all(DISTILLED, args)
    found = compare_all(args.work_dir)
    print(f'\n{found.in_terminal(shutil.get_terminal_size((120, 0)).columns)}\n')
    folder = args.work_dir / 'demo'
    print(f'In {folder}: {", ".join(path.name for path in found.write(folder))}')
    students = [row for row in ROWS if row is not FIRST]  # the report has the teacher's score from their logs
    folders, names = zip(*((row.folder(args.work_dir), row.name) for row in students))
    report = write_report(folders, folder / 'report.html', names=names)
    print(f'The report, for a browser, is {report}.')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
