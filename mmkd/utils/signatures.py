"""The arguments that a class accepts, and its bare name."""

import inspect
from typing import Any


def parameters_of(kind: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function or class, with those of the bases to which it passes ``**kwargs``, by name."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__ if inspect.isclass(kind) else [kind]:
        if inspect.isclass(base) and '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__ if inspect.isclass(base) else base).parameters
        named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
        found = {**named, **found}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    found.pop('self', None)
    return found


def bare_name(value: Any) -> str:
    """Of a class or a dtype of torch, or of what a config calls it, without its module or scope."""
    return str(getattr(value, '__name__', value)).rpartition('.')[-1]
