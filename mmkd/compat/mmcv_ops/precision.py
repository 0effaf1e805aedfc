"""The number format the stand-in computes in."""

import torch
from torch import Tensor


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Half precision lifted to float32: box coordinates need it, and few CPU kernels do without."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
