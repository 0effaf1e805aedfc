"""Runs operators as a GPU would: refuses what a GPU refuses, and counts."""

import sys
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from tests.pretended.calls import Calls, move
from tests.pretended.tensor import OnGpu

# Their CUDA kernels copy a size or a value to the host and wait for it; torchvision's nms counts the boxes it keeps.
WAITS = {f'aten::{name}' for name in ('_local_scalar_dense', 'equal', 'nonzero', 'masked_select', '_unique2', 'histc')}
WAITS |= {f'aten::{name}' for name in ('unique_dim', 'unique_consecutive', 'bincount', 'is_nonzero', 'nonzero_numpy')}
WAITS |= {'torchvision::nms'}
# These touch only metadata or nothing; so do views.
FREE = {f'aten::{name}' for name in ('detach', 'alias', 'lift_fresh', '_unsafe_view', 'set_', '_reshape_alias')}
FREE |= {f'aten::{name}' for name in ('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided')}
FREE |= {f'aten::{name}' for name in ('resize_', 'record_stream')}
INDEXING = {'aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_'}
ROOT = Path(__file__).resolve().parents[2]
_HIDDEN = ('/torch/', '/torchvision/', *(f'/pretended/{name}.py' for name in ('tensor', 'calls', 'gpu', 'machine')))


class Gpu(TorchDispatchMode):
    """Counts by line of code: the innermost two lines outside of torch.

    Attributes:
        launches: Kernels at least, so many as operators that are no views.
        waits: The host asks for a value, or a size that depends on values.
        blocking: The host copies something to the GPU and waits until it is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero."""
        self.launches: Counter = Counter()
        self.waits: Counter = Counter()
        self.blocking: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    def run(self, func, args, kwargs):
        """Run one operator."""
        name = func._schema.name
        flat, spec = tree_flatten((args, kwargs))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        wanted = None if kwargs.get('device') is None else torch.device(kwargs['device']).type
        if wanted != 'cuda' and not any(isinstance(x, OnGpu) for x in tensors):
            return _marked(func(*args, **kwargs), name, tensors)
        if name == 'aten::_fused_sdp_choice':
            return 0  # the operator itself
        stays = True
        if name in ('aten::_to_copy', 'aten::copy_'):
            stays = self._copy(name, args, kwargs, wanted)
        elif wanted == 'cpu' and f'aten::{getattr(Calls.asked, "__name__", "")}' == name:
            stays = False
        else:
            self._compute(func, name, args, tensors)
        real_args, real_kwargs = tree_unflatten([x.numbers if isinstance(x, OnGpu) else x for x in flat], spec)
        if wanted is not None:
            real_kwargs = {**real_kwargs, 'device': torch.device('cpu'), 'pin_memory': False}
            if not any(argument.name == 'pin_memory' for argument in func._schema.arguments):
                real_kwargs.pop('pin_memory')
        result = func(*real_args, **real_kwargs)
        if stays:
            return tree_map(lambda x: OnGpu(x) if isinstance(x, Tensor) else x, result)
        return args[0] if name.endswith('_') else result

    def _copy(self, name, args, kwargs, wanted) -> bool:
        """Count a copy, and tell whether it ends on the GPU."""
        into = name == 'aten::copy_'
        source = args[1] if into else args[0]
        if not into and wanted == 'cpu' and Calls.asked is not move:
            wanted = None  # C++ takes tensors on the pretended GPU for tensors on the CPU
        arrives = isinstance(args[0], OnGpu) if into else (wanted or source.device.type) == 'cuda'
        given = args[2] if into and len(args) > 2 else kwargs.get('non_blocking', False)
        if arrives and isinstance(source, OnGpu):
            self.count(self.launches)
        elif not arrives:
            self.count(self.waits)
        elif not given and source.numel():
            self.count(self.blocking)
        return arrives

    def _compute(self, func, name, args, tensors) -> None:
        """Count every other operator, and check that it is allowed."""
        self._check_devices(name, args, tensors)
        if name in WAITS or (name.startswith('aten::repeat_interleave') and len(args) < 3):
            self.count(self.waits)
        elif name in INDEXING:
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            fills = name != 'aten::index' and args[2].numel() == 1 and len(args[1]) == 1
            if masks and not fills:  # otherwise it searches for the indices
                self.count(self.waits)
        if not func.is_view and name not in FREE:
            self.count(self.launches)

    def _check_devices(self, name, args, tensors) -> None:
        strangers = [x for x in tensors if not isinstance(x, OnGpu) and not hasattr(x, 'anywhere')]
        if len(strangers) == len(tensors) or name == 'aten::set_' or name.startswith('aten::_has_compatible'):
            return
        if name in INDEXING:  # indices may lie on the host; they are copied
            strangers = [x for x in strangers if x is args[0] or (name != 'aten::index' and x is args[2] and x.ndim)]
            if not strangers and any(not isinstance(i, OnGpu | None) for i in args[1]):
                self.count(self.blocking)
        if any(x.ndim for x in strangers):  # tensors without dimensions are like numbers
            raise RuntimeError(
                'Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! '
                f'({name}, {_asked_by()})'
            )

    def count(self, counter: Counter) -> None:
        """Count one, at the current line of code."""
        counter[_asked_by()] += 1


def _asked_by() -> str:
    """The innermost two lines outside of torch; in a backward pass, the lines that started it."""
    frame, lines = sys._getframe(1), []
    while frame is not None and len(lines) < 2:
        name = frame.f_code.co_filename
        if not name.startswith('<') and not any(part in name for part in _HIDDEN):
            lines.append(f'{name.split("site-packages/")[-1].removeprefix(f"{ROOT}/")}:{frame.f_lineno}')
        frame = frame.f_back
    return ' < '.join(lines)


def _marked(result, name: str, tensors: list):
    """Tensors that C++ creates itself, on what it believes to be the others' device, may meet any tensor."""
    made_inside = not tensors and getattr(Calls.asked, '__name__', '') != name.split('::')[1]
    if made_inside or (tensors and all(hasattr(x, 'anywhere') for x in tensors)):
        for x in tree_flatten(result)[0]:
            if isinstance(x, Tensor):
                x.anywhere = True
    return result
