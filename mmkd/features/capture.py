"""Runs a network only up to given stages, and records or replaces their outputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from torch import Tensor, nn

from mmkd.utils.calls import call_of, calls_replaced

Feature = tuple[Tensor, ...]
"""The maps and tokens that a module put out; where it has neither its vectors (N, C), as maps of one pixel."""


class StageEnd(Protocol):
    """The attributes of a stage that running to its end needs, see :class:`mmkd.stages.plan.Stage`."""

    @property
    def end(self) -> str:
        """Path of the module whose output ends it."""

    @property
    def call(self) -> int:
        """Which call of that module within one forward ends it, counted from 1."""


@dataclass(frozen=True)
class ModuleOutput:
    """The output of a module that the user names."""

    end: str
    call: int = 1


@dataclass(frozen=True)
class ModuleInput(ModuleOutput):
    """Computes a module's new output from its positional arguments."""


def run_to(network: nn.Module, stages: Sequence[StageEnd], inputs: Tensor) -> list[Feature]:
    """Run a network only as far as the last of some stages, and return their features.

    Raises:
        ValueError: One of the stages is the head, which ends in no feature.
        RuntimeError: The forward did not reach the end of a stage.
    """
    if not all(stage.end for stage in stages):
        raise ValueError('The head ends in no feature: run the whole network instead.')
    with recording(network, stages, stop_early=True) as outputs, suppress(_StoppedEarly):
        network.extract_feat(inputs)  # type: ignore[operator]
    if missed := [stage for stage in stages if stage.end not in outputs]:
        raise RuntimeError(f'The forward never came to call {missed[0].call} of {missed[0].end}, which ends a stage.')
    return [feature_of(outputs[stage.end], len(inputs)) for stage in stages]


@contextmanager
def recording(network: nn.Module, ends: Sequence[StageEnd], stop_early: bool = False) -> Iterator[dict[str, Any]]:
    """Record the outputs of some modules in the forward that runs inside, by module path.

    Args:
        network: Contains the modules.
        ends: Which modules, and which call of each.
        stop_early: Stop the forward, by an exception, when all of them have run.
    """
    outputs: dict[str, Any] = {}
    stop_at = len({end.end for end in ends}) if stop_early else None

    def seen(end: StageEnd, module: nn.Module, args: Any, output: Any) -> Any:
        outputs[end.end] = args if isinstance(end, ModuleInput) else _kept(module, output)
        if len(outputs) == stop_at:
            raise _StoppedEarly
        return output

    with calls_replaced(_changed_calls(network, [(end, partial(seen, end)) for end in ends])):
        yield outputs


def _kept(module: nn.Module, output: Any) -> Any:
    """A layer's output as a copy: ResNets add the shortcut to a norm's, and activate it, in place."""
    return output.clone() if isinstance(output, Tensor) and not any(module.children()) else output


@contextmanager
def replaced(network: nn.Module, features: Mapping[StageEnd, Feature]) -> Iterator[None]:
    """Replace the outputs of some modules in the forward that runs inside."""

    def other(feature: Feature, module: nn.Module, args: Any, output: Any) -> Any:
        if not maps_in(output, len(feature[0])):
            feature = tuple(map_.flatten(1) for map_ in feature)
        return feature[0] if isinstance(output, Tensor) else type(output)(feature)

    with calls_replaced(_changed_calls(network, [(end, partial(other, feature)) for end, feature in features.items()])):
        yield


def _changed_calls(
    network: nn.Module, changes: Sequence[tuple[StageEnd, Callable]]
) -> dict[nn.Module, Callable | None]:
    """Calls of some modules that pass the module, its arguments and its output through a function.

    The modules around one of them must not run compiled. Each iteration comes here, so no module is looked up twice.
    """
    ways = [[*accumulate(end.end.split('.'), getattr, initial=network)] for end, _ in changes]  # from the network down
    instead: dict[nn.Module, Callable | None] = {around: None for way in ways for around in way[1:-1]}
    for (*_, module), (end, change) in zip(ways, changes):
        instead[module] = _changed(module, end, change)
    return instead


def _changed(module: nn.Module, end: StageEnd, change: Callable) -> Callable:
    """The module's own call with one output changed."""
    run = call_of(module)
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        output = run(*args, **kwargs)
        return change(module, args, output) if calls == end.call else output

    return call


def feature_of(output: Any, batch: int) -> Feature:
    """The maps and tokens in a module's output; if there are none, its vectors as maps of one pixel."""
    return maps_in(output, batch) or tuple(t[:, :, None, None] for t in _rows_in(output, batch) if t.ndim == 2)


def maps_in(output: Any, batch: int) -> Feature:
    """The floating-point tensors of three or more dimensions in a module's output, one row per image."""
    return tuple(t for t in _rows_in(output, batch) if t.ndim > 2)


def _rows_in(output: Any, batch: int) -> list[Tensor]:
    return [t for t in tensors_in(output) if t.is_floating_point() and t.ndim > 1 and len(t) == batch]


def tensors_in(output: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


class _StoppedEarly(Exception):  # noqa: N818  (no error: it stops a forward early)
    pass
