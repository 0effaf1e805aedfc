#!/usr/bin/env python3
"""What mmkd adds to the start of a training: python tools/benchmark/startup.py (make demo trains the teacher first).

Two measurements, each of programs that take turns, in processes of their own: what `import mmkd` takes beyond
`import mmengine`, and when tools/train.py reaches its first iteration, next to mmengine's Runner on the same config.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUDENT = 'configs/baselines/resnet18-w16_digits.py'
DISTILLATION = 'configs/sskd/sskd_resnet18-w32_resnet18-w16_digits.py'
TEACHER = 'work_dirs/resnet18-w32_digits/epoch_10.pth'

UNTIL_FIRST_ITERATION = """
import os, runpy, sys
from mmengine.runner import EpochBasedTrainLoop
EpochBasedTrainLoop.run_iter = lambda *args: os._exit(0)
sys.argv = ['tools/train.py', *sys.argv[1:]]
"""
TOOL = UNTIL_FIRST_ITERATION + "runpy.run_path('tools/train.py', run_name='__main__')"
# what mmpretrain's own tools/train.py does; mmkd is imported for its digits only
PLAIN = (
    UNTIL_FIRST_ITERATION
    + """
import mmkd
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = sys.argv[3]
for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
    loader.update(pin_memory=False, persistent_workers=False, collate_fn=dict(type='default_collate'))
Runner.from_cfg(cfg).train()
"""
)
UNSCORED = ['--cfg-options', 'default_hooks.stages.score_teacher=False']


def measure(code: str, *args: str) -> tuple[float, float]:
    """Seconds until a program ends, and its seconds on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        args = tuple(folder if arg == 'FOLDER' else arg for arg in args)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run = subprocess.run(
            [sys.executable, '-c', code, *args],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True,
            text=True,
        )
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        sys.exit(f'error: a run failed:\n{run.stderr[-2000:]}')
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(title: str, programs: dict[str, tuple[str, ...]], repeats: int) -> None:
    """Print the medians of programs that take turns, and how far each is from the first."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            times = measure(*program)
            if turn:  # before, files are not in memory yet
                taken[name].append(times)
    print(f'{title} (medians of {repeats})')
    print(f'  {"":<36}{"seconds":>9}{"more":>8}{"ratio":>7}{"on a CPU":>11}{"more":>8}{"ratio":>7}')
    first: list[float] = []
    for name, times in taken.items():
        medians = [statistics.median(column) for column in zip(*times)]
        first = first or medians
        cells = [
            f'{own:>{9 + 2 * i}.2f}{own - to:>+8.2f}{own / to:>7.2f}' for i, (own, to) in enumerate(zip(medians, first))
        ]
        print(f'  {name:<36}{"".join(cells)}', flush=True)


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=5, help='[5]')
    repeats = parser.parse_args().repeats
    if not (ROOT / TEACHER).is_file():
        sys.exit(f'error: {TEACHER} does not exist; train it with: make demo')
    imports = {name: (f'import {name}',) for name in ('mmengine', 'mmengine, mmkd')}
    compare('Imports', imports, repeats)
    programs = {
        'Runner, the student alone': (PLAIN, STUDENT, '--work-dir', 'FOLDER'),
        'tools/train.py, the student alone': (TOOL, STUDENT, '--work-dir', 'FOLDER'),
        'tools/train.py, SSKD': (TOOL, DISTILLATION, '--work-dir', 'FOLDER'),
        'the same, the teacher not scored': (TOOL, DISTILLATION, '--work-dir', 'FOLDER', *UNSCORED),
    }
    compare('To the first iteration', programs, repeats)


if __name__ == '__main__':
    main()
