"""Speed options: channels-last memory layout, compiling, and 16 bits for frozen modules."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor, nn

from mmkd.acceleration.batchnorm_folding import fold_waiting
from mmkd.acceleration.frozen_precision import LowPrecision
from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import tensors_in
from mmkd.stages.trace import Call, dry_run, unchanged
from mmkd.utils.calls import replace_call

_VARIANTS = 32  # versions of a part's code: trained or frozen, behind trained or frozen parts, other sizes


class SpeedUps:
    """The options that a user chose.

    Args:
        channels_last (bool): Keep convolutions' weights, and so their features, in memory with the channels last.
        compile (bool | dict): Compile the parts of the networks that a stage runs as a whole; a dict holds options of
            ``torch.compile``.
        frozen_dtype (str, optional): What is frozen runs in it, ``'bfloat16'`` or ``'float16'``.
    """

    def __init__(self, channels_last: bool = False, compile: bool | dict = False, frozen_dtype: str | None = None):
        if not isinstance(compile, bool | dict):
            raise UserError(
                f"model.compile: it must be True or a dict of torch.compile's options, such as "
                f'dict(dynamic=True), not {compile!r}.'
            )
        self.channels_last = channels_last
        self.options: dict | None = None if compile is False else {} if compile is True else dict(compile)
        self.active = False  # compile now; until training begins, parts run as before
        self.frozen_dtype = frozen_dtype
        self.low_precision = None if frozen_dtype is None else LowPrecision(frozen_dtype, lambda: self.active)
        if self.options is not None:
            _check(self.options)

    def apply(self, key: str, network: nn.Module, inputs: Tensor, watched: Collection[str]) -> None:
        """Speed up a network.

        Args:
            key: Its place in the config.
            network: Its batch norms are folded already.
            inputs: A batch as it gets it.
            watched: Paths of modules whose output something reads.
        """
        if self.channels_last:
            put_channels_last(key, network, inputs)
        if self.options is not None:
            self.compile_parts(key, network, inputs, watched)
        if self.low_precision is not None:  # modules around compiled ones
            paths = find_parts(network, inputs, watched, operators=True)
            self.low_precision.put_on(map(network.get_submodule, paths), inputs.device.type)
            self._try_low_precision(key, network, inputs)

    def compile_parts(self, key: str, network: nn.Module, inputs: Tensor, watched: Collection[str]) -> None:
        """Compile submodules in place, but never across a module whose output is read."""
        config: Any = torch._dynamo.config
        config.cache_size_limit = max(config.cache_size_limit, _VARIANTS)  # beyond this limit, parts run uncompiled
        for path in find_parts(network, inputs, watched):
            module = network.get_submodule(path)
            replace_call(module, _CompiledPart(f'{key}.{path}', module, self))
        with self.tried():
            _try(network, inputs)

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Run once with the options of the training, so that failures show immediately.

        Compiled code is dropped afterwards, since training batches are larger.
        """
        before, self.active = self.active, True
        try:
            yield
        finally:
            self.active = before
            if self.options is not None:
                torch.compiler.reset()

    def begin_iteration(self) -> None:
        """Call this before each forward: graphs of ``mode='reduce-overhead'`` may then write over the last one's."""
        if self.options is not None:
            torch.compiler.cudagraph_mark_step_begin()

    def renew(self) -> None:
        """Call this when weights, or what is trained, may have changed."""
        if self.low_precision is not None:
            self.low_precision.renew()

    def _try_low_precision(self, key: str, network: nn.Module, inputs: Tensor) -> None:
        plain = _try(network, inputs)
        try:
            with self.tried():
                found = _try(network, inputs)
        except UserError:
            raise
        except Exception as error:  # a toolbox's networks may raise anything
            raise UserError(
                f'model.frozen_dtype: {key} cannot run in {self.frozen_dtype} ({in_one_line(error)}); leave it out.'
            ) from error
        if _is_finite(plain) and not _is_finite(found):
            raise UserError(
                f'model.frozen_dtype: what {key} computes of the first training sample is too large for '
                f"{self.frozen_dtype}; take 'bfloat16', or leave it out."
            )


def put_channels_last(key: str, network: nn.Module, inputs: Tensor) -> None:
    """Make a network channels-last, if its code supports it."""
    network.to(memory_format=torch.channels_last)
    try:
        _try(network, inputs)
    except RuntimeError as error:
        raise UserError(
            f'model.channels_last: {key} cannot run with its channels last ({in_one_line(error)}); leave it out.'
        ) from error


def find_parts(network: nn.Module, inputs: Tensor, watched: Collection[str], operators: bool = False) -> list[str]:
    """Paths of the largest modules inside which nothing is read, and of the heads.

    Args:
        network: Runs ``extract_feat`` once.
        inputs: A batch as it gets it.
        watched: Paths of modules whose output something reads.
        operators: Those without others inside, too; compiling gains nothing for them.
    """
    top, _ = dry_run(network, inputs)
    found: list[str] = []
    waiting: list[Call] = list(top)
    for call in waiting:
        if any(path.startswith(f'{call.name}.') for path in watched):
            waiting += call.children
        elif call.children or operators:
            found.append(call.name)
    ran = {call.name.split('.')[0] for call in top} | {'data_preprocessor'}
    heads = [name for name, child in network.named_children() if name not in ran and list(child.children())]
    return list(dict.fromkeys(found + heads))


class _CompiledPart:
    """Replaces the call of a compiled module."""

    def __init__(self, key: str, module: nn.Module, speed_ups: SpeedUps):
        self.key, self.module, self.speed_ups = key, module, speed_ups
        self.inside = list(module.modules())
        self.run = torch.compile(_own_code(module, key), **(speed_ups.options or {}))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.speed_ups.active:
            return self.module._call_impl(*args, **kwargs)
        fold_waiting(self.inside)  # not inside the call, where it would be compiled too
        try:
            return self.run(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise UserError(f'model.compile: {self.key} cannot be compiled ({_said(error)}); leave it out.') from error


def _own_code(module: nn.Module, name: str) -> Callable:
    """The call of a module as a code object of its own.

    What torch counts, and the sizes it takes for variable, are those of code: all parts together would seem to be one
    that is called with ever other sizes.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=name)
    return call


def _check(options: dict) -> None:
    """Compile a tiny function, so that unknown options or a missing compiler fail immediately."""
    try:
        torch.compile(lambda x: (x + 1).sin(), **options)(torch.zeros(2, 2, device=get_device()))
    except Exception as error:  # backends may raise anything
        raise UserError(
            f'model.compile: {options} does not work here ({_said(error)}); fix it or leave it out.'
        ) from error


def _said(error: Exception) -> str:
    return shorten(in_one_line(getattr(error, 'inner_exception', error)), 200, placeholder=' ...')


def _try(network: nn.Module, inputs: Tensor) -> Any:
    """A module's output if all of the module is frozen."""
    with unchanged(network), torch.no_grad():
        network.eval()
        network.requires_grad_(False)
        return network.extract_feat(inputs)  # type: ignore[operator]


def _is_finite(output: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors_in(output))
