"""Mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmkd.acceleration.instructions import warn_without
from mmkd.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs a training's forward under autocast to bfloat16, without a scaler; mmengine's own wrapper needs a GPU."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _warn_once()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Around the forward of an iteration."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


@cache
def _warn_once() -> None:  # each stage builds a wrapper
    warn_without('bfloat16', 'optim_wrapper (--amp-dtype bfloat16)', '2.2 to 3.1')
