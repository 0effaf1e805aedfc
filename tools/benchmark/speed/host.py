"""Measures what an iteration costs the host: with tiny images, mmkd against loops written by hand."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmark_page import Results
from iterations import training
from measuring import Ratio, in_turn
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmkd_training import MmkdTraining
from pairs import Pair
from rivals import Floor
from schedules import by_pair

from tests.pretended import pretend_cuda

PAIRS = {
    'resnet56 -> resnet20': Pair('mmkd::sskd/sskd_resnet56_resnet20_cifar100.py', 8, (8, 8), 100),
    'ResNet-18, half as wide': Pair('mmkd::sskd/sskd_resnet18-w32_resnet18-w16_digits.py', 8, (8, 8), 10),
    'RetinaNet R-18, half as wide': Pair(
        'mmkd::sskd/sskd_retinanet_r18-w32_r18-w16_digits-coco.py', 32, (2, 2), 10, boxes=3
    ),
}
BLOCK = 10  # iterations per timing
HEAD = (
    '| | mmkd, ms | Against the loop in the Runner | Against the bare loop | Launches | of the bare loop |\n'
    '|---|---|---|---|---|---|'
)


class BareModel(BaseModel):
    """The bare loop's networks and losses as a model of mmengine's, behind the student's own preprocessor."""

    def __init__(self, floor: Floor):
        super().__init__(floor.student.data_preprocessor)
        self.floor = floor
        self.student, self.extras = floor.student, floor.extras

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'loss') -> dict:
        """The loss of the phase."""
        self.floor.inputs, self.floor.samples = inputs, data_samples
        return dict(loss=self.floor.loss())

    def train(self, mode: bool = True) -> 'BareModel':
        """Keep the modes, so that frozen parts stay frozen."""
        return self


def in_the_runner(run: MmkdTraining, work_dir: Path) -> Callable[[], object]:
    """An iteration of the bare loop with mmengine's loop, optimizer wrapper, schedulers, hooks and log."""
    cfg = run.runner.cfg.copy()
    cfg.default_hooks.pop('stages')
    names = ('train_dataloader', 'train_cfg', 'param_scheduler', 'default_hooks', 'log_level', 'default_scope')
    floor = Floor(run)
    clip = run.runner.optim_wrapper.clip_grad_kwargs
    runner = Runner(
        BareModel(floor),
        str(work_dir),
        optim_wrapper=OptimWrapper(floor.optimizer, clip_grad=dict(clip) if clip else None),
        experiment_name=f'bare-{work_dir.name}',
        **{name: cfg[name] for name in names if name in cfg},
    )
    runner.train()
    return runner.train_loop.step


def measure(name: str, pair: Pair, method: str, rounds: int) -> list[dict]:
    """Measure every phase of a method."""
    rows = []
    launches = count_launches(pair, method)
    with training(pair, method, pair.batch[0]) as run:
        for phase in run.phases:
            run.enter(phase)
            with tempfile.TemporaryDirectory() as folder:
                steps = {'mmkd': run.step, 'runner': in_the_runner(run, Path(folder))}
                steps['bare'] = Floor(run).step
                seconds = in_turn({who: partial(block, step) for who, step in steps.items()}, rounds)
            row = dict(pair=name, method=method, phase=phase, size=pair.size, batch=pair.batch[0])
            rows.append(dict(row, seconds=seconds, launches=launches[phase]))
            print(line(rows[-1]), flush=True)
    return rows


def block(step: Callable[[], object]) -> float:
    """Processor seconds per iteration, which other programs hardly change."""
    begin = time.process_time()
    for _ in range(BLOCK):
        step()
    return (time.process_time() - begin) / BLOCK


def count_launches(pair: Pair, method: str) -> dict[str, dict[str, int]]:
    """The kernel launches of each phase's iteration, counted without a GPU."""
    found: dict[str, dict[str, int]] = {}
    with pretend_cuda() as gpu, training(pair, method, pair.batch[0]) as run:
        for phase in run.phases:
            run.enter(phase)
            for who, step in dict(mmkd=run.step, bare=Floor(run).step).items():
                step()  # optimizers allocate their state
                gpu.reset()
                step()
                found.setdefault(phase, {})[who] = gpu.launches.total()
    return found


def table(results: Results) -> list[str]:
    """One table per pair."""
    rows, lines = results['host'], []
    for pair, those in by_pair(rows).items():
        lines += [f'{pair}, {those[0]["batch"]} images of {those[0]["size"]} pixels:', '', HEAD]
        lines += [*map(line, those), '']
    return lines[:-1]


def line(row: dict) -> str:
    """The row of a phase."""
    seconds, launches = row['seconds'], row['launches']
    cells = [
        f'{row["method"]}, {row["phase"]}',
        f'{1000 * median(seconds["mmkd"]):.2f}',
        *(str(Ratio.of(seconds['mmkd'], seconds[other])) for other in ('runner', 'bare')),
        str(launches['mmkd']),
        str(launches['bare']),
    ]
    return f'| {" | ".join(cells)} |'
