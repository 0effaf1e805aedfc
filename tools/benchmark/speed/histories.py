"""Measures what an iteration costs the host late in a training, when many values have been logged."""

import copy
from functools import partial
from statistics import median

import numpy as np
from benchmark_page import Results
from host import PAIRS, block
from iterations import training
from measuring import in_turn
from mmengine.logging import MessageHub

NAME = 'resnet56 -> resnet20'
METHOD = 'KD'
DONE = 0, 20_000, 100_000, 200_000  # iterations


def measure(rounds: int) -> list[dict]:
    """Time iterations with mmkd's histories and with mmengine's, after so many others."""
    pair, rows = PAIRS[NAME], []
    with training(pair, METHOD, pair.batch[0]) as run, training(pair, METHOD, pair.batch[0]) as other:
        for each in (run, other):
            each.enter(each.phases[-1])
        own = other.runner.message_hub
        own._log_scalars = copy.deepcopy(own.log_scalars)  # copies are mmengine's
        own.__class__ = MessageHub
        for done in DONE:
            for each in (run, other):
                lengthen(each.runner.message_hub, done)
            seconds = in_turn({'mmkd': partial(block, run.step), 'mmengine': partial(block, other.step)}, rounds)
            rows.append(dict(pair=NAME, method=METHOD, phase=f'after {done:,} iterations', seconds=seconds))
            print(line(rows[-1]), flush=True)
    return rows


def lengthen(hub: MessageHub, done: int) -> None:
    """Give every history of a training as many values as after so many iterations."""
    for history in hub.log_scalars.values():
        history._log_history = np.full(done + 1, 0.5)
        history._count_history = np.ones(done + 1, dtype=int)


def table(results: Results) -> list[str]:
    """A line for each number of iterations."""
    head = f"| {METHOD}, {NAME} | mmkd, ms | With mmengine's own histories, ms |"
    return [head, '|---|---|---|', *map(line, results['histories'])]


def line(row: dict) -> str:
    """The row after so many iterations."""
    own, other = (1000 * median(row['seconds'][who]) for who in ('mmkd', 'mmengine'))
    return f'| {row["phase"]} | {own:.1f} | {other:.1f} |'
