#!/usr/bin/env python3
"""Train a teacher and its small student in several ways with few labels, and compare them: python tools/demo.py"""

import json
import logging
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout needs no installation

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint

from mmkd.errors import UserError
from mmkd.utils.configs import load_config

SIDE = 16  # of the images
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
    with log.open('w') as file:
        done = subprocess.run(
            [*program, '--work-dir', folder, '--cfg-options', *options],
            stdout=file,
            stderr=file,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )
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


def measure(config: str, weights: Path) -> dict[str, float]:
    """A plain model's accuracy on the test images, its size, and its speed on one thread."""
    cfg = load_config(str(ROOT / 'configs' / config))
    init_default_scope(cfg.default_scope)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).eval()
    load_checkpoint(model, str(weights), map_location='cpu', strict=True)
    batches = list(Runner.build_dataloader(cfg.test_dataloader))
    with torch.inference_mode():
        found = [sample for batch in batches for sample in model.test_step(batch)]
        right = [int(sample.pred_label) == int(sample.gt_label) for sample in found]
        images = torch.rand(64, 3, SIDE, SIDE)
        times = []
        for _ in range(11):  # warm-up comes first; the fastest run was disturbed least
            begin = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - begin)
        size = get_model_complexity_info(model, (3, SIDE, SIDE))
    return dict(
        accuracy=100 * sum(right) / len(right),
        parameters=size['params'],
        flops=size['flops'],
        speed=len(images) / min(times),
    )


def table(root: Path) -> str:
    """The results, one line for each training."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    lines = ['method             labels  accuracy  parameters    FLOPs  images/s  training']
    for row in ROWS:
        with redirect_stdout(StringIO()):  # mmengine logs each file that it loads
            found = measure(TEACHER if row is FIRST else STUDENT, checkpoint(row.folder(root)))
        seconds = json.loads(row.record(root).read_text())['seconds']
        lines.append(
            f'{row.name:<17} {row.labels:>7,} {found["accuracy"]:>7.1f} % {found["parameters"]:>11,} '
            f'{found["flops"] / 1e6:>6.1f} M {found["speed"]:>9,.0f} {seconds:>7} s'
        )
    return '\n'.join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs'), help='the trainings work below it [work_dirs]'
    )
    parser.add_argument('--seed', type=int, default=0, help='of all trainings [0]')
    parser.add_argument('--jobs', type=int, default=min(2, os.cpu_count() or 1), help='trainings side by side [2]')
    parser.add_argument('--iterations', type=int, help="of each student [its config's]")
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all trainings [none]')
    args = parser.parse_args()
    print(f'Handwritten digits; the trainings and their logs (console.log) lie below {args.work_dir}.', flush=True)
    train_all([FIRST, ALONE], args)
    train_all(DISTILLED, args)
    text = table(args.work_dir)
    file = args.work_dir / 'demo' / 'table.txt'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + '\n')
    print(f'\n{text}\n\nAlso in {file}. Labels: how many training images were seen with theirs.')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
