"""Mixed precision: the optimizer's wrapper that fits the device, and whether the device supports it."""

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device

from mmkd.errors import UserError
from mmkd.utils.signatures import bare_name

BFLOAT16 = 'bfloat16'


def choose_wrapper(cfg: Config) -> None:
    """Put what a config for mixed precision leaves open: the scale of the loss, and the wrapper for a CPU."""
    wrapper = cfg.get('optim_wrapper') or ConfigDict()
    if bare_name(wrapper.get('type')) != 'AmpOptimWrapper':
        return
    dtype = bare_name(wrapper.get('dtype'))
    if dtype == BFLOAT16 and get_device() == 'cpu':
        wrapper.type = 'mmkd.CPUAmpOptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(key, None)
    else:  # the range of bfloat16 is that of float32
        wrapper.setdefault('loss_scale', dict(enabled=False) if dtype == BFLOAT16 else 'dynamic')


def check_amp(cfg: Config) -> None:
    """Check that the device supports mixed precision."""
    name, device = bare_name(cfg.optim_wrapper.get('type')), get_device()
    if name == 'CPUAmpOptimWrapper' and device != 'cpu':
        raise UserError(
            "optim_wrapper.type: mmkd.CPUAmpOptimWrapper is for CPUs; with a GPU take type='AmpOptimWrapper', "
            "dtype='bfloat16'."
        )
    if name == 'AmpOptimWrapper' and device == 'cpu':
        raise UserError(
            'optim_wrapper.type: mixed precision (--amp) needs a GPU, and torch sees none; without one take '
            '--amp-dtype bfloat16, or check the driver with: python -c "import torch; print(torch.cuda.is_available())"'
        )
    bfloat16 = name == 'AmpOptimWrapper' and bare_name(cfg.optim_wrapper.get('dtype')) == BFLOAT16
    if bfloat16 and device == 'cuda' and not torch.cuda.is_bf16_supported():
        raise UserError('optim_wrapper.dtype: this GPU does not support bfloat16; use --amp-dtype float16.')
