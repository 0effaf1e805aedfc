"""Measures what mmkd adds to the start of a training; separate programs take turns."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from benchmark_page import Results
from measuring import in_turn

from mmkd.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
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
# what mmpretrain's own tools/train.py does; mmkd is imported only for its digits
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
PROGRAMS = {  # the others in a group are compared with the first
    'Imports': {'`mmengine`': ('import mmengine',), '`mmengine`, `mmkd`': ('import mmengine, mmkd',)},
    'To the first iteration': {
        "mmengine's Runner, the student alone": (PLAIN, STUDENT, '--work-dir', 'FOLDER'),
        '`tools/train.py`, the student alone': (TOOL, STUDENT, '--work-dir', 'FOLDER'),
        '`tools/train.py`, SSKD': (TOOL, DISTILLATION, '--work-dir', 'FOLDER'),
        'the same, the teacher not scored': (TOOL, DISTILLATION, '--work-dir', 'FOLDER', *UNSCORED),
    },
}


def measure(rounds: int) -> list[dict]:
    """Wall and processor seconds of each program in each round."""
    if not (ROOT / TEACHER).is_file():
        raise UserError(f'{TEACHER} does not exist; train it with: make {TEACHER}')
    rows = []
    for group, programs in PROGRAMS.items():
        taken = in_turn({name: partial(_run, *program) for name, program in programs.items()}, rounds)
        for name, pairs in taken.items():
            seconds, on_cpu = zip(*pairs)
            rows.append(dict(group=group, program=name, seconds=seconds, on_cpu=on_cpu))
            print(group, name, f'{median(seconds):.2f} s', flush=True)
    return rows


def _run(code: str, *args: str) -> tuple[float, float]:
    """Wall and processor seconds until a program ends."""
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
        raise UserError(f'a run of {args} failed:\n{run.stderr[-2000:]}')
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(results: Results) -> list[str]:
    """How much longer each program took than the first of its group."""
    rows = results['startup']
    lines = ['| | Seconds | More |', '|---|---|---|']
    for row in rows:
        first = next(other for other in rows if other['group'] == row['group'])
        own = median(row['seconds'])
        more = f'{own - median(first["seconds"]):+.2f}' if row is not first else ''
        lines.append(f'| {row["group"]}: {row["program"]} | {own:.2f} | {more} |')
    return lines
