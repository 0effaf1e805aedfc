"""CIFAR-100, resnet56 teaches resnet20: a teacher, then students alone and distilled, on several seeds.

Set by the environment: PROTOCOL (of tools/benchmark/protocols.py) [short], EPOCHS of the students and TEACHER_EPOCHS
[the protocol's], BATCH [the configs'], METHODS [all of the report's], SEEDS [0 1 2], PAIR [resnet56_resnet20].
The data are told by ``--data cifar100=FILE``.
"""

import os
from dataclasses import replace
from pathlib import Path

from cells import METHODS, Cell
from protocols import PROTOCOLS

PAIR = os.environ.get('PAIR', 'resnet56_resnet20')
protocol = PROTOCOLS[os.environ.get('PROTOCOL', 'short')]
protocol = replace(
    protocol,
    epochs=int(os.environ.get('EPOCHS', protocol.epochs)),
    teacher_epochs=int(os.environ.get('TEACHER_EPOCHS', protocol.teacher_epochs)),
    data=Path('{cifar100}'),
)
methods = os.environ.get('METHODS', ' '.join(METHODS)).split()
seeds = [int(seed) for seed in os.environ.get('SEEDS', '0 1 2').split()]


def job(method: str, seed: int) -> dict:
    """A training of the grid of docs/results.md."""
    cell = Cell(protocol, PAIR.split('_')[0] if method == 'teacher' else PAIR, method, seed)
    options = {key: value for key, value in cell.options().items() if not key.startswith('model.teacher.')}
    if batch := os.environ.get('BATCH'):  # and the rate that goes with it
        options |= {'train_dataloader.batch_size': int(batch), 'optim_wrapper.optimizer.lr': 0.05 * int(batch) / 64}
    options |= {'default_hooks.checkpoint.interval': cell.epochs, 'train_cfg.val_interval': max(1, cell.epochs // 5)}
    named = dict(name=method if method == 'teacher' else f'{method}-seed{seed}', config=str(cell.config), seed=seed)
    return dict(**named, options=options, **(dict(teacher='teacher') if cell.teacher else {}))


needs_teacher = any(method != 'student' for method in methods)
JOBS = [dict(job('teacher', 0), keep=True)] if needs_teacher else []
JOBS += [job(method, seed) for seed in seeds for method in methods]
