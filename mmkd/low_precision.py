"""The forward of what is frozen in half the bits: what learns from it needs no more."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmkd.errors import UserError
from mmkd.prefix import tensors_in

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


class LowPrecision:
    """Modules whose calls run under autocast while they are frozen and no gradient goes through them.

    What they put out is float32 again, so that nothing around them has to know. Where autocast is on already, as by
    ``--amp``, it rules.

    Args:
        dtype (str): ``'bfloat16'`` or ``'float16'``.
        wanted (Callable[[], bool]): Whether it is time.
    """

    def __init__(self, dtype: str, wanted: Callable[[], bool]):
        if dtype not in tuple(DTYPES):
            raise UserError(f"model.frozen_dtype: it must be None, 'bfloat16' or 'float16', not {dtype!r}.")
        self.dtype = DTYPES[dtype]
        self.wanted = wanted

    def put_on(self, modules: Iterable[nn.Module], device: str) -> None:
        """For good; a module that is compiled already runs so."""
        for module in modules:
            run = module._compiled_call_impl or module._call_impl
            module._compiled_call_impl = partial(self._call, module, run, device)

    def _call(self, module: nn.Module, run: Callable, device: str, *args: Any, **kwargs: Any) -> Any:
        if not self.wanted() or torch.is_autocast_enabled(device) or not _is_frozen(module, (args, kwargs)):
            return run(*args, **kwargs)
        with torch.autocast(device, self.dtype):
            output = run(*args, **kwargs)
        return tree_map(self._in_full, output)

    def _in_full(self, value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype == self.dtype else value


def _is_frozen(module: nn.Module, inputs: Any) -> bool:
    """A gradient through it, which float16 may lose without a scaler, counts as learning."""
    learns = module.training or any(parameter.requires_grad for parameter in module.parameters())
    return not learns and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors_in(inputs)))
