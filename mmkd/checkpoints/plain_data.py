"""Safe loading of what mmengine's checkpoints hold besides weights: numpy data and the history of logged values.

Numpy and mmengine would rebuild them from whatever a file says: a dtype that takes bytes for pointers, or methods that
change the whole process. So while a file is read, harmless stand-ins keep what it says, and afterwards the plain data
among it becomes real objects.
"""

import re
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

# booleans, numbers, text; and objects, which are read like everything else in the file
DTYPE = re.compile(r'b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d{1,6}|O8?')


def _stands_for(name: str) -> Callable:
    """Give a class or a function the name by which a file asks for it."""

    def rename(stand_in):
        stand_in.__module__, _, stand_in.__qualname__ = name.rpartition('.')
        return stand_in

    return rename


@_stands_for('numpy.dtype')
class Dtype:
    """A dtype's name and byte order; no fields, no parts, no flags."""

    def __init__(self, name: str, align: bool = False, copy: bool = False):
        if not isinstance(name, str) or not DTYPE.fullmatch(name):
            raise _refused('numpy.dtype', str(name)[:40])
        self.real = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        _, order, parts, names, fields, *_ = state
        if order not in ('<', '>', '|', '=') or (parts, names, fields) != (None, None, None):
            raise _refused('numpy.dtype', 'with fields')
        self.real = self.real.newbyteorder(order)


@_stands_for('numpy.ndarray')
class Array:
    """An array's content, shape and dtype."""

    state: tuple = (1, (0,), Dtype('f8'), False, b'')

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def restored(self, seen: dict[int, Any]) -> np.ndarray:
        """The array."""
        _, shape, dtype, by_columns, content = self.state
        if not isinstance(dtype, Dtype) or dtype.real.hasobject != isinstance(content, list):
            raise _refused('numpy.ndarray', f'of a {type(content).__name__}')
        if isinstance(content, list):
            array = np.empty(len(content), object)
            for i, item in enumerate(content):
                array[i] = restored(item, seen)
            return array.reshape(shape)
        return np.ndarray(shape, dtype.real, content, order='F' if by_columns else 'C').copy('K')


@_stands_for('mmengine.logging.history_buffer.HistoryBuffer')
class History:
    """The values and counts of a ``HistoryBuffer``; methods in the file are ignored."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def restored(self, seen: dict[int, Any]) -> HistoryBuffer:
        """The history."""
        values, counts = (restored(self.state[name], seen) for name in ('_log_history', '_count_history'))
        return HistoryBuffer(values, counts, int(self.state['max_length']))


def restored(content: Any, seen: dict[int, Any]) -> Any:
    """Replace the stand-ins in the content of a file by the real objects.

    Args:
        content: Of the file.
        seen: Results by identity, so that shared objects stay shared.
    """
    if id(content) in seen:
        return seen[id(content)]
    result = seen[id(content)] = content
    if isinstance(content, dict):
        for key, value in content.items():
            content[key] = restored(value, seen)
    elif type(content) is list:
        content[:] = [restored(value, seen) for value in content]
    elif type(content) is tuple:
        result = tuple(restored(value, seen) for value in content)
    elif isinstance(content, Array | History):
        result = content.restored(seen)
    seen[id(content)] = result
    return result


def _reconstruct(name: str) -> Callable:
    @_stands_for(name)
    def stand_in(*_) -> Array:
        return Array()

    return stand_in


def _scalar(name: str) -> Callable:
    @_stands_for(name)
    def stand_in(dtype: Dtype, content: bytes) -> Any:
        array = Array()
        array.state = (1, (), dtype, False, content)
        return array.restored({})[()]

    return stand_in


@_stands_for('builtins.getattr')
def _statistics(owner: type, name: str) -> None:
    """Attributes of a history in the file: ignored, since a new history has its own."""
    if owner is not History or name.startswith('_'):
        raise _refused('builtins.getattr', f'of {owner} {name}')


@_stands_for('builtins.bytes')
def _no_bytes() -> bytes:
    """The content of an empty array is pickled as this call."""
    return b''


def _refused(name: str, what: str) -> UnpicklingError:
    return UnpicklingError(f'Unsupported GLOBAL {name} {what}')


MULTIARRAY = ('numpy.core.multiarray', 'numpy._core.multiarray')  # numpy 1 and 2
ALLOWED: list = [
    Dtype,
    Array,
    History,
    _statistics,
    _no_bytes,
    *(_reconstruct(f'{module}._reconstruct') for module in MULTIARRAY),
    *(_scalar(f'{module}.scalar') for module in MULTIARRAY),
]
