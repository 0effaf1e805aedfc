"""What an iteration of every phase of every method costs, against the floor, running everything, and torchdistill."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreign import TorchDistill
from measuring import GPU, alternate, medians, peak_bytes
from pairs import Pair
from product import Product
from rivals import Floor, RunEverything
from torch import nn

from mmkd.distillers.base import Distiller

MORE = 1 if GPU else 8  # times the images that are timed: with few, the memory is that of the weights
LOW = dict(frozen_dtype='bfloat16')
FOREIGN = {  # what torchdistill can do, too
    ('ResNet-34 -> ResNet-18', 'SSKD', 'layer2'): 'layer2',
    ('ResNet-34 -> ResNet-18', 'KD', 'all'): 'kd',
}


@contextmanager
def training(pair: Pair, method: str, batch: int, **options: Any) -> Iterator[Product]:
    """Of mmkd, as it is measured."""
    heads = dict(heads=pair.heads) if method == 'MHKD' else {}
    with tempfile.TemporaryDirectory() as work_dir:
        yield Product(pair, method, Path(work_dir), batch, **{'channels_last': True, **options, **heads})
    gc.collect()


def measure(name: str, pair: Pair, method: str, rounds: int, foreign: Path | None) -> list[dict]:
    """Every phase of a method."""
    batch = pair.batch[GPU]
    seconds = measure_seconds(name, pair, method, rounds, foreign)
    memory = measure_bytes(pair, method, batch * MORE)
    shared = dict(pair=name, size=pair.size, batch=batch, images=batch * MORE, method=method)
    return [dict(**shared, phase=phase, seconds=seconds[phase], bytes=memory[phase]) for phase in seconds]


def measure_seconds(name: str, pair: Pair, method: str, rounds: int, foreign: Path | None) -> dict[str, dict]:
    """Of each competitor in each round, by the phases of a method."""
    found = {}
    batch = pair.batch[GPU]
    with training(pair, method, batch) as product, training(pair, method, batch, **LOW) as low:
        for phase in product.phases:
            for own in (product, low):
                own.enter(phase)
            steps = {'mmkd': product.step, 'frozen_dtype': low.step}
            steps |= {'floor': Floor(product).step, 'run everything': RunEverything(product).step}
            asked = FOREIGN.get((name, method, phase))
            others = {'torchdistill': TorchDistill(foreign, asked, batch)} if foreign and asked else {}
            steps |= {other: process.step for other, process in others.items()}
            found[phase] = alternate(steps, rounds)
            for process in others.values():
                process.close()
            print(name, method, phase, medians(found[phase]), flush=True)
    return found


def measure_bytes(pair: Pair, method: str, batch: int) -> dict[str, dict[str, int]]:
    """At the peak of an iteration, by the phases of a method."""
    found: dict[str, dict[str, int]] = {}
    for who, options in (('mmkd', {}), ('frozen_dtype', LOW)):
        with training(pair, method, batch, **options) as product:
            for phase in product.phases:
                product.enter(phase)
                memory = found.setdefault(phase, {})
                memory[who] = peak_bytes(product.step, product.optimizer, *networks(product.distiller))
                if not options:
                    memory['run everything'] = bytes_of_everything(product)
    return found


def networks(distiller: Distiller) -> tuple[nn.Module, ...]:
    """All that holds weights."""
    return distiller.student, distiller.teacher.network, distiller.extras


def bytes_of_everything(product: Product) -> int:
    """Its optimizer has moments from the second step on, as that of the training has."""
    rival = RunEverything(product)
    rival.step()
    return peak_bytes(rival.step, rival.optimizer, rival.student, rival.teacher, rival.extras)
