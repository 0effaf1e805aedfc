"""Measures an iteration of every phase of every method: mmkd, the floor, running everything, and torchdistill."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import GPU, alternate, medians, peak_bytes
from mmkd_training import MmkdTraining
from pairs import Pair
from rivals import Floor, Rival, RunEverything, StudentAlone
from torch import nn
from torchdistill_process import TorchDistill

from mmkd.distillers.base import Distiller
from tests.quick_start import quick_start

MORE = 1 if GPU else 8  # images for memory per timed image: with few images, the weights dominate the memory
LOW = dict(frozen_dtype='bfloat16')
ALSO_TORCHDISTILL = {  # the phases that torchdistill can train as well
    ('ResNet-34 -> ResNet-18', 'SSKD', 'layer2'): 'layer2',
    ('ResNet-34 -> ResNet-18', 'KD', 'all'): 'kd',
}


def rivals_of(method: str) -> dict[str, type[Rival]]:
    """What a method is compared with."""
    alone = {'student alone': StudentAlone} if method == 'KD' else {}
    return {'floor': Floor, 'run everything': RunEverything, **alone}


@contextmanager
def training(pair: Pair, method: str, batch: int, **options: Any) -> Iterator[MmkdTraining]:
    """A training of mmkd that is ready to be measured."""
    heads = dict(heads=pair.heads) if method == 'MHKD' else {}
    with tempfile.TemporaryDirectory() as work_dir:
        with quick_start():  # of a GPU's minutes, many would be spent on starts
            ours = MmkdTraining(pair, method, Path(work_dir), batch, **{'channels_last': True, **options, **heads})
        yield ours
        del ours
    gc.collect()


def measure(name: str, pair: Pair, method: str, rounds: int, torchdistill_at: Path | None) -> list[dict]:
    """Measure every phase of a method."""
    batch = pair.batch[GPU]
    seconds = measure_seconds(name, pair, method, rounds, torchdistill_at)
    memory = measure_bytes(pair, method, batch * MORE)
    shared = dict(pair=name, size=pair.size, batch=batch, images=batch * MORE, method=method)
    return [dict(**shared, phase=phase, seconds=seconds[phase], bytes=memory[phase]) for phase in seconds]


def measure_seconds(name: str, pair: Pair, method: str, rounds: int, torchdistill_at: Path | None) -> dict[str, dict]:
    """Seconds per round of each competitor, by phase."""
    found = {}
    batch = pair.batch[GPU]
    with training(pair, method, batch) as ours, training(pair, method, batch, **LOW) as low:
        for phase in ours.phases:
            for own in (ours, low):
                own.enter(phase)
            steps = {'mmkd': ours.step, 'frozen_dtype': low.step}
            steps |= {rival: kind(ours).step for rival, kind in rivals_of(method).items()}
            asked = ALSO_TORCHDISTILL.get((name, method, phase))
            others = {'torchdistill': TorchDistill(asked, batch, torchdistill_at)} if torchdistill_at and asked else {}
            steps |= {other: process.step for other, process in others.items()}
            found[phase] = alternate(steps, rounds)
            for process in others.values():
                process.close()
            print(name, method, phase, medians(found[phase]), flush=True)
    return found


def measure_bytes(pair: Pair, method: str, batch: int) -> dict[str, dict[str, int]]:
    """Peak bytes of an iteration, by phase."""
    found: dict[str, dict[str, int]] = {}
    for who, options in (('mmkd', {}), ('frozen_dtype', LOW)):
        with training(pair, method, batch, **options) as ours:
            for phase in ours.phases:
                ours.enter(phase)
                memory = found.setdefault(phase, {})
                memory[who] = peak_bytes(ours.step, ours.optimizer, *networks(ours.distiller))
                if not options:
                    memory['run everything'] = bytes_of_rival(RunEverything(ours))
                if method == 'KD' and not options:
                    memory['student alone'] = bytes_of_rival(StudentAlone(ours))
    return found


def networks(distiller: Distiller) -> tuple[nn.Module, ...]:
    """All modules with weights."""
    return distiller.student, distiller.teacher.network, distiller.extras


def bytes_of_rival(rival: Rival) -> int:
    """Run two steps: the optimizer has its moments from the second one on, as the training does."""
    rival.step()
    others = () if isinstance(rival, StudentAlone) else (rival.teacher, rival.extras)
    return peak_bytes(rival.step, rival.optimizer, rival.student, *others)
