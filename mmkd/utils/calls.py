"""Replaces the calls of modules, compiled ones included.

Forward hooks would not do: in a module compiled in place they are traced along, or ignored where the trace is older. So
mmkd uses what torch calls instead of ``forward`` and the hooks where a module is compiled, ``_compiled_call_impl``. No
other file touches it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


def call_of(module: nn.Module) -> Callable[..., Any]:
    """The current call: a replacement, compiled code, or the module's own."""
    return module._compiled_call_impl or module._call_impl


def replace_call(module: nn.Module, call: Callable[..., Any] | None) -> None:
    """Make a module run another call with the same arguments; None restores its own."""
    vars(module)['_compiled_call_impl'] = call  # in each iteration: a module's own way first looks for parameters


@contextmanager
def calls_replaced(calls: Mapping[nn.Module, Callable[..., Any] | None]) -> Iterator[None]:
    """Replace the calls of some modules inside the block."""
    before = {module: module._compiled_call_impl for module in calls}
    try:
        for module, call in calls.items():
            replace_call(module, call)
        yield
    finally:
        for module, call in before.items():
            replace_call(module, call)
