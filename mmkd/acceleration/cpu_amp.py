"""Mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmkd.registry import OPTIM_WRAPPERS

INSTRUCTIONS = 'amx_bf16', 'avx10_2', 'bf16', 'sve_bf16'
"""With any of them it should pay (measured: AMX); with AVX-512's alone a training is slower."""


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs a training's forward under autocast to bfloat16, without a scaler; mmengine's own wrapper needs a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Around the forward of an iteration."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
