"""A machine that pretends to have a GPU."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import mmengine.device.utils as mmengine_device
import torch
import torch._dynamo  # this module reads torch.cuda's functions at its import
import torch.nn.utils.clip_grad as clip
from torch.utils._pytree import tree_map

from tests.pretended.calls import Calls
from tests.pretended.gpu import Gpu
from tests.pretended.tensor import GPUS, OnGpu, refuse_pinning

AUTOCAST = ('set_autocast_enabled', 'is_autocast_enabled', 'get_autocast_dtype', 'set_autocast_dtype')


@contextmanager
def pretend_cuda() -> Iterator[Gpu]:
    """Pretend inside that there is a GPU; yields the object that counts."""
    gpu = Gpu()
    with ExitStack() as stack:
        for name, function in _driver(gpu).items():
            stack.enter_context(patch.object(torch.cuda, name, function))
        for name in AUTOCAST:  # C++ runs everything on the CPU
            stack.enter_context(patch.object(torch, name, _for_cpu(getattr(torch, name))))
        if hasattr(torch, 'accelerator'):  # since torch 2.6
            stack.enter_context(patch.object(torch.accelerator, 'current_stream', lambda *_: _Stream))
        stack.enter_context(patch.object(mmengine_device, 'DEVICE', 'cuda'))
        stack.enter_context(patch('torch.utils.data._utils.pin_memory.pin_memory', _pinned))
        stack.enter_context(patch('torch.autograd._engine_run_backward', _seen(torch.autograd._engine_run_backward)))
        kinds = [torch.Tensor, torch.nn.Parameter, OnGpu]
        stack.enter_context(patch('torch.optim.optimizer._foreach_supported_types', kinds))
        stack.enter_context(
            patch.object(clip, '_group_tensors_by_device_and_dtype', _on_gpu(clip._group_tensors_by_device_and_dtype))
        )
        torch_is = [
            (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled, False),
            (torch._C._only_lift_cpu_tensors, torch._C._set_only_lift_cpu_tensors, True),
            (  # a parameter cannot become a wrapper in place
                torch.__future__.get_overwrite_module_params_on_conversion,
                torch.__future__.set_overwrite_module_params_on_conversion,
                True,
            ),
        ]
        for get, set_to, value in torch_is:
            stack.callback(set_to, get())
            set_to(value)
        GPUS.append(gpu)
        stack.callback(GPUS.pop)
        stack.enter_context(Calls())
        stack.enter_context(gpu)
        yield gpu


class _Stream:
    is_capturing = staticmethod(lambda: False)


def _driver(gpu: Gpu) -> dict:
    """Functions of torch.cuda that would ask a driver."""
    state = torch.zeros(16, dtype=torch.uint8)
    answers = dict(
        is_available=True,
        is_initialized=True,
        device_count=1,
        current_device=0,
        is_bf16_supported=True,
        max_memory_allocated=0,
        get_rng_state=state,
        get_device_capability=(9, 0),
        get_device_name='pretended',
        is_current_stream_capturing=False,
        _is_in_bad_fork=False,
    )
    for name in ('set_rng_state', 'manual_seed', 'manual_seed_all', 'set_device', 'empty_cache', '_lazy_init'):
        answers[name] = None
    answers['reset_peak_memory_stats'] = None
    functions = {name: _answering(answer) for name, answer in answers.items()}
    return dict(functions, synchronize=lambda *_: gpu.count(gpu.waits))


def _answering(answer):
    return lambda *_, **__: answer


def _for_cpu(function):
    return lambda device='cuda', *args: function('cpu' if device == 'cuda' else device, *args)


def _pinned(data, device=None):
    tree_map(lambda x: refuse_pinning(x) if isinstance(x, torch.Tensor) else None, data)
    return data


def _seen(run):
    """While a mode handles ``backward()`` it is off, so what Python does in a backward pass would go unseen."""

    def run_backward(*args, **kwargs):
        with Calls():
            return run(*args, **kwargs)

    return run_backward


def _on_gpu(group):
    """C++ groups tensors by the device that it sees, so this does it in Python."""
    return lambda lists, *args, **kwargs: {
        (tensors[0][0].device, dtype): (tensors, places)
        for (_, dtype), (tensors, places) in group(lists, *args, **kwargs).items()
    }
