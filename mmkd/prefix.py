"""Running a network only as far as its stages go."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

Feature = tuple[Tensor, ...]
"""What a module put out, flattened to its floating-point tensors of three dimensions or more."""


class StageEnd(Protocol):
    """What must be known of a stage to run as far as its end, see :class:`mmkd.stages.Stage`."""

    @property
    def end(self) -> str:
        """Path of the module whose output ends it."""

    @property
    def call(self) -> int:
        """Which call of that module within one forward ends it, counted from 1."""


def run_to(network: nn.Module, stages: Sequence[StageEnd], inputs: Tensor) -> list[Feature]:
    """Run a network only as far as the last of some stages, in the order of the forward, and return their features.

    Raises:
        ValueError: One of the stages is the head, which ends in no feature.
        RuntimeError: The forward did not come by a stage's end.
    """
    if not all(stage.end for stage in stages):
        raise ValueError('The head ends in no feature: run the whole network instead.')
    features: dict[str, Feature] = {}

    # Not forward hooks: in a module compiled in place they would be traced, or be ignored where the trace is older.
    # What the ends run is replaced instead, and the modules around them run for once as if they were not compiled.
    instead: dict[nn.Module, Any] = {}
    for stage in stages:
        for dot in (place for place, char in enumerate(stage.end) if char == '.'):
            instead.setdefault(network.get_submodule(stage.end[:dot]))
    for stage in stages:
        end = network.get_submodule(stage.end)
        instead[end] = _recording(end, stage, features, len(inputs), leave=stage is stages[-1])
    before = {module: module._compiled_call_impl for module in instead}
    try:
        for module, call in instead.items():
            module._compiled_call_impl = call
        network.extract_feat(inputs)  # type: ignore[operator]
    except _Left:
        return [features[stage.end] for stage in stages]
    finally:
        for module, call in before.items():
            module._compiled_call_impl = call
    raise RuntimeError(f'The forward never came to call {stages[-1].call} of {stages[-1].end}, which ends a stage.')


def _recording(end: nn.Module, stage: StageEnd, features: dict[str, Feature], batch: int, leave: bool) -> Callable:
    """The module's own call, which keeps its feature and leaves the forward if it was the last one wanted."""
    run = end._compiled_call_impl or end._call_impl
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        output = run(*args, **kwargs)
        if calls == stage.call:
            features[stage.end] = feature_of(output, batch)
            if leave:
                raise _Left
        return output

    return call


def feature_of(output: Any, batch: int) -> Feature:
    """Flatten what a module put out to its floating-point tensors of three dimensions or more, one row an image."""
    every = tensors_in(output)
    return tuple(t for t in every if t.is_floating_point() and t.ndim > 2 and len(t) == batch)


def tensors_in(output: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


class _Left(Exception):  # noqa: N818  (no error: how a forward is left early)
    pass
