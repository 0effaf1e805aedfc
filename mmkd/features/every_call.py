"""Records all calls of some modules in a forward, and gives them other inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

from torch import Tensor, nn

from mmkd.utils.calls import call_of, calls_replaced


@dataclass(frozen=True)
class Call:
    """One call of a module: its arguments by their names in the module's ``forward``."""

    arguments: Mapping[str, Any]

    @property
    def first(self) -> Any:
        """The first argument."""
        return next(iter(self.arguments.values()))


@contextmanager
def every_call(network: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, list[Call]]]:
    """Record what some modules get in the forward that runs inside, by module path and in the order of the calls."""
    calls: dict[str, list[Call]] = {path: [] for path in paths}

    def call(path: str, module: nn.Module, run: Callable, *args: Any, **kwargs: Any) -> Any:
        calls[path].append(Call(signature(module.forward).bind(*args, **kwargs).arguments))
        if getattr(module, 'inplace', False):  # it would write into what was recorded
            args = tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)
        return run(*args, **kwargs)

    instead: dict[nn.Module, Callable | None] = _around(network, paths)
    for path in paths:
        module = network.get_submodule(path)
        instead[module] = partial(call, path, module, call_of(module))
    with calls_replaced(instead):
        yield calls


@contextmanager
def given_inputs(network: nn.Module, inputs: Mapping[str, Sequence[Tensor]]) -> Iterator[None]:
    """Let modules of a list run on other tensors, call by call, and those before them in the list on none.

    Args:
        network: Contains the lists.
        inputs: By the path of a module.
    """
    instead = _around(network, list(inputs))
    for path, tensors in inputs.items():
        parent, _, index = path.rpartition('.')
        modules: Any = network.get_submodule(parent)
        for before in modules[: int(index)]:
            instead[before] = _unchanged
        module = network.get_submodule(path)
        instead[module] = partial(_on_next, call_of(module), iter(tensors))
    with calls_replaced(instead):
        yield


def _around(network: nn.Module, paths: Sequence[str]) -> dict[nn.Module, Callable | None]:
    """The modules that contain others run as they are: compiled code would not see another call inside."""
    parents = [path[:dot] for path in paths for dot, char in enumerate(path) if char == '.']
    return {network.get_submodule(parent): None for parent in ['', *parents]} if paths else {}


def _unchanged(feature: Tensor) -> Tensor:
    return feature


def _on_next(run: Callable, tensors: Iterator[Tensor], _: Tensor) -> Tensor:
    return run(next(tensors))
