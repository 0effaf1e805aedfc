"""Decides in Python what C++ would decide by the device that it sees."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.pretended.tensor import CUDA, OnGpu, refuse_pinning

CPU = torch.device('cpu')


class Calls(TorchFunctionMode):
    """Sees every function of torch that Python calls."""

    asked: Any = None  # the function that Python has called

    def __torch_function__(self, func, types, args=(), kwargs=None):
        before, Calls.asked = Calls.asked, func
        try:
            return _call(func, args, dict(kwargs or {}))
        finally:
            Calls.asked = before


def move(tensor, device, dtype=None, non_blocking=False, copy=False, memory_format=torch.preserve_format):
    """Replaces ``Tensor.to``."""
    same = isinstance(tensor, OnGpu) == (device.type == 'cuda') and dtype in (None, tensor.dtype)
    if same and not copy:
        changes = memory_format not in (torch.preserve_format, None)
        return tensor.contiguous(memory_format=memory_format) if changes else tensor
    before, Calls.asked = Calls.asked, move
    try:
        return torch.ops.aten._to_copy.default(
            tensor, dtype=dtype, device=device, non_blocking=non_blocking, memory_format=memory_format
        )
    finally:
        Calls.asked = before


def _call(func, args, kwargs):
    if kwargs.get('device') is not None:
        kwargs['device'] = _device(kwargs['device'])
    if func is Tensor.cpu:
        return move(args[0], CPU)
    if func is Tensor.cuda:
        return move(args[0], CUDA, non_blocking=kwargs.get('non_blocking', False))
    if func is Tensor.to:
        return move(args[0], **_arguments_of_to(args[0], *args[1:], **kwargs))
    if func is torch.tensor and kwargs.get('device') == CUDA:  # made on the host, then copied
        return _made_on_the_host(args[0], **kwargs)
    if args and isinstance(args[0], OnGpu):
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if func is Tensor.tolist:
            return move(args[0], CPU).tolist()
        if func is Tensor.pin_memory:
            refuse_pinning(args[0])
        if func is Tensor.new_tensor:
            data = args[1] if len(args) > 1 else kwargs.pop('data')
            return _made_on_the_host(data, **dict(dict(dtype=args[0].dtype, device=CUDA), **kwargs))
    return func(*args, **kwargs)


def _made_on_the_host(data, device, requires_grad=False, **kwargs):
    return move(torch.tensor(data, **kwargs), device).requires_grad_(requires_grad)


def _device(device) -> torch.device:
    device = torch.device(device)
    return CUDA if device.type == 'cuda' else device


def _arguments_of_to(tensor, *args, **kwargs) -> dict:
    """Understands its three signatures."""
    names: list = ['device', 'dtype', 'non_blocking', 'copy']
    found = dict(kwargs)
    other = found.pop('other', None)
    if args and isinstance(args[0], torch.dtype):
        names = names[1:]
    elif args and isinstance(args[0], Tensor):
        (other, *args), names = args, names[2:]
    found.update(zip(names, args))
    if other is not None:
        found.update(device=other.device, dtype=other.dtype)
    found['device'] = tensor.device if found.get('device') is None else _device(found['device'])
    return found
