"""Small trainings begin sooner without what mmengine does at the start for its log, or each time anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from unittest.mock import patch

import torch

remembered = cache(cache)  # a function's results are kept from one use of quick_start to the next


@contextmanager
def quick_start() -> Iterator[None]:
    """Leave configs as they are in the log, collect no garbage, and ask for machine and metafiles once.

    To lay out configs takes three quarters of a small training's time, and garbage is collected for each data set. For
    each Runner, mmengine starts compilers to ask for their versions; for each config that inherits from a toolbox, it
    reads all of that toolbox's metafiles.
    """
    from mmengine.config import utils
    from mmengine.runner import runner

    with (
        patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)),
        patch('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0)),
        patch.object(runner, 'collect_env', remembered(runner.collect_env)),
        patch.object(utils, 'load', remembered(utils.load)),
    ):
        yield


@contextmanager
def quick_weights() -> Iterator[None]:
    """Draw few random numbers, and repeat them: a fifth of the config tests' time went into random weights.

    Where in the drawn numbers a tensor begins is random, so that layers differ.
    """
    many = 1 << 16
    drawn = dict(uniform=torch.rand(2 * many), normal=torch.randn(2 * many))

    def repeated(kind: str, tensor: torch.Tensor, scale: float, shift: float) -> torch.Tensor:
        start = int(torch.randint(many, ()))
        numbers = drawn[kind][start : start + many].to(tensor) * scale + shift
        flat = tensor.view(-1)
        whole = flat.numel() // many * many
        flat[:whole].view(-1, many).copy_(numbers)
        flat[whole:].copy_(numbers[: flat.numel() - whole])
        return tensor

    def uniform_(self, begin=0.0, end=1.0, **_):
        return repeated('uniform', self, end - begin, begin)

    def normal_(self, mean=0.0, std=1.0, **_):
        return repeated('normal', self, std, mean)

    with (
        patch.object(torch.Tensor, 'uniform_', uniform_),
        patch.object(torch.Tensor, 'normal_', normal_),
    ):
        yield
