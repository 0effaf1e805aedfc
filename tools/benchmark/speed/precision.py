"""Measures an iteration of KD on a CPU in float32, with the teacher in bfloat16, and all in bfloat16."""

import os

import torch
from benchmark_page import Results
from iterations import LOW, training
from measuring import GPU, Ratio, in_turn, medians, processor_seconds
from pairs import Pair

from mmkd.acceleration.instructions import INSTRUCTIONS

LIMIT = 'ONEDNN_MAX_CPU_ISA'
"""Keeps the CPU's library from instructions that the processor has."""


def measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    """Seconds of the processor in each round; what a GPU takes is in the other tables."""
    if GPU:
        return []
    batch = pair.batch[GPU]
    with (
        training(pair, 'KD', batch) as full,
        training(pair, 'KD', batch, **LOW) as frozen,
        training(pair, 'KD', batch, amp='bfloat16') as low,
    ):
        ours = dict(float32=full, frozen_dtype=frozen, bfloat16=low)
        for own in ours.values():
            own.enter('all')
        seconds = in_turn({name: processor_seconds(own.step) for name, own in ours.items()}, rounds)
    print(name, 'precision', medians(seconds), flush=True)
    return [dict(pair=name, batch=batch, size=pair.size, program=processor(), seconds=seconds)]


def processor() -> str:
    """The processor's name, and which instructions for bfloat16 it may use."""
    has = torch.cpu.get_capabilities()
    found = [one for one in INSTRUCTIONS['bfloat16'] if has.get(one)]
    limit = os.environ.get(LIMIT)
    return ', '.join([has.get('cpu_name', 'CPU'), *([f'{LIMIT}={limit}'] if limit else found or ['neither'])])


def table(results: Results) -> list[str]:
    """A line for each pair on each processor."""
    rows = sorted(results['precision'], key=lambda row: row['program'])
    lines = ['| Against float32 | Processor | The teacher in bfloat16 | All in bfloat16 |', '|---|---|---|---|']
    for row in rows:
        low = (str(Ratio.of(row['seconds'][name], row['seconds']['float32'])) for name in ('frozen_dtype', 'bfloat16'))
        lines.append(f'| {row["pair"]} | {row["program"]} | {" | ".join(low)} |')
    return lines
