"""Whether the processor has instructions with which 16 bits pay."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log

INSTRUCTIONS = {
    'bfloat16': ('amx_bf16', 'avx512_bf16', 'avx10_2', 'bf16', 'sve_bf16'),
    'float16': ('avx512_fp16', 'amx_fp16', 'avx10_2', 'fp16_arith'),
}
"""Of x86 and of ARM, as ``torch.cpu.get_capabilities`` calls them; any of them will do."""


def warn_without(dtype: str, key: str, cost: str) -> None:
    """Log if the processor has no instructions for a dtype; older versions of torch cannot tell.

    Args:
        dtype: ``'bfloat16'`` or ``'float16'``.
        key: What asks for it.
        cost: How many times as long as in float32 an iteration in bfloat16 took without them.
    """
    instructions = INSTRUCTIONS[dtype]
    capabilities: Mapping[str, Any] = getattr(torch.cpu, 'get_capabilities', dict)()
    if capabilities and not any(capabilities.get(name) for name in instructions):
        print_log(
            f'{key}: this processor has none of the instructions with which {dtype} pays ({", ".join(instructions)}); '
            f'on such ones iterations in bfloat16 took {cost} times as long. Leave it out.',
            logger='current',
            level=logging.WARNING,
        )
