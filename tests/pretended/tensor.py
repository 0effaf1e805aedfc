"""A tensor on the pretended GPU."""

from typing import Any

import torch
from torch import Tensor

CUDA = torch.device('cuda', 0)
GPUS: list[Any] = []  # the last one is active


class OnGpu(Tensor):
    """A tensor that says that it is on the GPU; ``numbers`` is the CPU tensor inside.

    For C++ it lies on the CPU, since autograd's threads and streams for CUDA need a driver.
    """

    numbers: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: Tensor, requires_grad: bool = False):
        made = Tensor._make_wrapper_subclass(
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            layout=real.layout,
            device='cpu',
            requires_grad=requires_grad,
        )
        made.numbers = real
        return made

    def get_device(self) -> int:
        """The index."""
        return 0

    def __repr__(self) -> str:
        return f'OnGpu({self.numbers})'

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return GPUS[-1].run(func, args, kwargs or {})


def refuse_pinning(tensor: Tensor) -> None:
    """Only tensors in the host's memory can be pinned."""
    if isinstance(tensor, OnGpu):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
