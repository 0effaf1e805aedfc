"""A stand-in for a CUDA graph that works on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class RecordedGraph:
    """Records every operator with its tensors, and runs the same operators on the same tensors again.

    As in a CUDA graph, what the host decided stays as it was, and results are written where the first ones are. Unlike
    there, work is done while it is recorded, so the first replay does nothing.
    """

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.is_new = True

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        yield

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        with _Recording(self.calls):
            return work()

    @torch.no_grad()
    def replay(self) -> None:
        if self.is_new:
            self.is_new = False
            return
        for func, args, kwargs, results in self.calls:
            if torch.Tag.inplace_view in func.tags:  # only a change of shapes may have done that
                continue
            for old, new in zip(results, _tensors(func(*args, **kwargs)), strict=True):
                if old is not new:
                    old.copy_(new.reshape(old.shape))


class _Recording(TorchDispatchMode):
    def __init__(self, calls: list[tuple]):
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError('operation not permitted when stream is capturing')
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, _tensors(result)))
        return result


def _tensors(tree) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
