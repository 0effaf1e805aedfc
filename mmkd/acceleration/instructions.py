"""Whether the processor has instructions with which 16 bits pay."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.logging import print_log

FORWARD = {
    'bfloat16': ('avx512_bf16', 'amx_bf16', 'avx10_2', 'bf16', 'sve_bf16'),
    'float16': ('avx512_fp16', 'amx_fp16', 'avx10_2', 'fp16_arith'),
}
"""Of x86 and of ARM, as ``torch.cpu.get_capabilities`` calls them; any of them will do."""

TRAINING = 'amx_bf16', 'avx10_2', 'bf16', 'sve_bf16'
"""The same for a whole training in bfloat16, which AVX-512's own made slower; AMX was measured, the others were not."""


def warn_without(instructions: Iterable[str], dtype: str, key: str, cost: str) -> None:
    """Log if the processor has none of these instructions; older versions of torch cannot tell.

    Args:
        instructions: Of this module.
        dtype: What they are for.
        key: What asks for it.
        cost: How many times as long an iteration takes without them.
    """
    capabilities: Mapping[str, Any] = getattr(torch.cpu, 'get_capabilities', dict)()
    if capabilities and not any(capabilities.get(name) for name in instructions):
        print_log(
            f'{key}: this processor has none of the instructions with which {dtype} pays ({", ".join(instructions)}); '
            f'on such ones iterations took {cost} times as long with it as without. Leave it out.',
            logger='current',
            level=logging.WARNING,
        )
