"""What an iteration of each method costs against the student alone, with the public pair for CIFAR-100."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmark_page import Results
from iterations import training
from measuring import GPU, Ratio, alternate, in_turn, medians
from mmkd_training import MmkdTraining
from pairs import PAIRS

from mmkd.utils.configs import load_config

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
PAIR = 'resnet32x4 -> resnet8x4'
FILES = sorted(CONFIGS.glob('kd/kd*_resnet32x4_resnet8x4_*.py')) + [
    path for path in sorted(CONFIGS.glob('feature_kd/*_resnet32x4_resnet8x4_*.py')) if '-first_' not in path.name
]  # a method in two phases costs what it costs in one, and then nothing


def measure(rounds: int, paths: list[Path] = FILES) -> Iterator[list[dict]]:
    """Each method in turn with the student alone, as its terms act after their warm-up."""
    batch = PAIRS[PAIR].batch[GPU]
    with training(PAIRS[PAIR], 'FeatureKD', batch, weight=0) as alone:
        alone.enter(alone.phases[-1])
        for path in paths:
            model = load_config(str(path)).model.to_dict()
            method = model.pop('type').removeprefix('mmkd.')
            for name in ('student', 'teacher'):
                model.pop(name)
            for term in model.get('terms', {}).values():
                for key in ('warm_up', 'until'):
                    term.pop(key, None)
            with training(PAIRS[PAIR], method, batch, **model) as ours:
                yield [dict(method=path.stem.partition('_')[0], pair=PAIR, seconds=_seconds(ours, alone, rounds))]


def _seconds(ours: MmkdTraining, alone: MmkdTraining, rounds: int) -> dict[str, list[float]]:
    ours.enter(ours.phases[0])
    steps = {'method': ours.step, 'student alone': alone.step}
    if GPU:
        found = alternate(steps, rounds)
    else:  # of the processor: what else the machine does takes none of it
        found = in_turn({name: partial(_processor_seconds, step) for name, step in steps.items()}, rounds)
    print(medians(found), flush=True)
    return found


def _processor_seconds(step: Callable[[], object]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def table(results: Results) -> list[str]:
    """A line for each method."""
    lines = ['| Method | Seconds of an iteration | Times the student alone |', '|---|---|---|']
    for row in results['methods']:
        own, alone = row['seconds']['method'], row['seconds']['student alone']
        lines.append(f'| {row["method"]} | {sorted(own)[len(own) // 2]:.2f} | {Ratio.of(own, alone)} |')
    return lines
