"""Runs the forward of frozen modules in 16 bits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmkd.acceleration.instructions import warn_without
from mmkd.errors import UserError
from mmkd.features.capture import tensors_in
from mmkd.utils.calls import call_of, replace_call

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


class LowPrecision:
    """Modules that run under autocast while they are frozen.

    One that a gradient goes through learns in this sense, too: float16 may lose the gradient without a scaler. What
    they put out is float32 again, so that nothing around them has to know. Where autocast is on already, as by
    ``--amp``, it rules.

    Args:
        dtype (str): ``'bfloat16'`` or ``'float16'``.
        wanted (Callable[[], bool]): Whether it applies now.
    """

    def __init__(self, dtype: str, wanted: Callable[[], bool]):
        if dtype not in tuple(DTYPES):
            raise UserError(f"model.frozen_dtype: it must be None, 'bfloat16' or 'float16', not {dtype!r}.")
        if get_device() == 'cpu':
            warn_without(dtype, 'model.frozen_dtype', '1.6 to 2.1')
        self.dtype = DTYPES[dtype]
        self.wanted = wanted
        self.copies: dict[nn.Module, dict] = {}  # copies of weights, by layer

    def renew(self) -> None:
        """Weights may have changed: make their copies again when they are needed."""
        self.copies.clear()

    def put_on(self, modules: Iterable[nn.Module], device: str) -> None:
        """Wrap the modules permanently, compiled ones included."""
        for module in modules:
            if weights := list(module.parameters()):  # other modules take little time
                run = call_of(module)
                layers = [layer for layer in module.modules() if type(layer) in (nn.Conv2d, nn.Linear)]
                if run != module._call_impl:  # other dtypes of weights would make torch compile again
                    layers = []
                replace_call(module, partial(self._call, module, weights, layers, run, device))

    @contextmanager
    def _low_weights(self, layers: Sequence[nn.Module]) -> Iterator[None]:
        """Give layers copies of their weights in the dtype, which autocast would make in each call."""
        layers = [layer for layer in layers if 'forward' not in vars(layer)]  # folded convolutions have copies
        own = [layer._parameters for layer in layers]
        try:
            for layer in layers:
                vars(layer)['_parameters'] = self._copied(layer)
            yield
        finally:
            for layer, parameters in zip(layers, own):
                vars(layer)['_parameters'] = parameters

    def _copied(self, layer: nn.Module) -> dict:
        if layer not in self.copies:
            with torch.inference_mode(False), torch.no_grad():
                named = layer._parameters.items()
                self.copies[layer] = {name: value if value is None else value.to(self.dtype) for name, value in named}
        return self.copies[layer]

    def _call(
        self,
        module: nn.Module,
        weights: list,
        layers: list,
        run: Callable,
        device: str,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        learns = module.training or any(tensor.requires_grad for tensor in [*weights, *tensors_in([args, kwargs])])
        if learns or not self.wanted() or torch.is_autocast_enabled(device):
            return run(*args, **kwargs)
        with torch.autocast(device, self.dtype), self._low_weights(layers):
            output = run(*args, **kwargs)
        return tree_map(self._in_full, output)

    def _in_full(self, value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype == self.dtype else value
