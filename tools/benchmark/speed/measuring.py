"""Measures time and memory of training iterations."""

import statistics
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

T = TypeVar('T')

GPU = torch.cuda.is_available()


def alternate(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step; they take turns, so that other load on the machine affects all alike."""

    def timed(step: Callable[[], object]) -> float:
        begin = _now()
        step()
        return _now() - begin

    return in_turn({name: partial(timed, step) for name, step in steps.items()}, rounds)


def processor_seconds(step: Callable[[], object]) -> Callable[[], float]:
    """A step that tells its seconds of the processor, to which other load on the machine adds nothing."""

    def timed() -> float:
        begin = time.process_time()
        step()
        return time.process_time() - begin

    return timed


def in_blocks(steps: Mapping[str, Callable[[int], object]], rounds: int, block: float) -> dict[str, list[float]]:
    """Seconds of a step of each program, which runs as many as it is told.

    As many as take ``block`` seconds are timed at once, so that a GPU never waits.
    """
    once = alternate({name: partial(run, 1) for name, run in steps.items()}, 2)
    counts = {name: max(1, min(20, round(block / min(those)))) for name, those in once.items()}
    blocks = alternate({name: partial(run, counts[name]) for name, run in steps.items()}, rounds)
    return {name: [seconds / counts[name] for seconds in those] for name, those in blocks.items()}


def repeated(step: Callable[[], object]) -> Callable[[int], None]:
    """A step that is told how often to run."""

    def run(times: int) -> None:
        for _ in range(times):
            step()

    return run


def in_turn(acts: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """The results of each round; the first round is a warm-up and does not count."""
    found: dict[str, list[T]] = {name: [] for name in acts}
    order = list(acts)
    for round_ in range(rounds + 1):
        for name in order:
            value = acts[name]()
            if round_:
                found[name].append(value)
        order.append(order.pop(0))
    return found


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Medians for reading while the rest is measured."""
    return {who: f'{statistics.median(those):.4f} s' for who, those in seconds.items()}


def _now() -> float:
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


@dataclass(frozen=True)
class Ratio:
    """The ratio of one time to another: the median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, these: Sequence[float], those: Sequence[float]) -> 'Ratio':
        """Divide round by round: only measurements of the same round are compared."""
        ratios = [a / b for a, b in zip(these, those, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        return cls(median, low, high)

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.low:.2f}-{self.high:.2f})'


def peak_bytes(step: Callable[[], object], optimizer: Optimizer | None, *networks: nn.Module) -> int:
    """The peak bytes of all tensors in an iteration: networks, optimizer, and intermediate results."""
    held = [tensor for network in networks for tensor in _held(network)]
    held += [t for state in (optimizer.state.values() if optimizer else ()) for t in _tensors(state)]
    own = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
    if GPU:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return sum(own.values()) + torch.cuda.max_memory_allocated() - before
    with _Allocations() as allocations:
        step()
    return sum(own.values()) + allocations.peak


def _held(network: nn.Module) -> list[Tensor]:
    """The weights, including folded ones."""
    forwards = [vars(module).get('forward') for module in network.modules()]
    folded = [(f.weight, f.bias) for f in forwards if getattr(f, 'weight', None) is not None]
    return [*network.parameters(), *network.buffers(), *(tensor for pair in folded for tensor in pair)]


class _Allocations(TorchDispatchMode):
    """Counts the bytes of living storages that operators create, since a CPU has no such counter."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for tensor in _tensors(output):
            storage = tensor.untyped_storage()
            if storage._cdata not in given and storage._cdata not in self.known:
                self.known.add(storage._cdata)
                self.alive += storage.nbytes()
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return output

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
