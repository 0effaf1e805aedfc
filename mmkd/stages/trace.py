"""Runs a network once and records the order and outputs of its modules."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from mmkd.errors import UserError, in_one_line
from mmkd.features.capture import Feature, feature_of, maps_in, tensors_in
from mmkd.utils.calls import replace_call
from mmkd.utils.random_state import own_randomness

_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
_PREFIX_TOKENS = 8  # tokens before those of the image: class, distillation and register tokens


@dataclass(eq=False)
class Call:
    """One call of one module in the dry run, and the calls inside it."""

    name: str
    number: int
    children: list['Call'] = field(default_factory=list)
    shapes: tuple[tuple[int, ...], ...] = ()
    grid: tuple[int, int] | None = None  # None also for vectors
    stride: float = 0.0
    signed: bool = True
    normed: bool = True  # whether the last layer before or here is a norm; layers without parameters do not count
    pooled: bool = False  # whether the image was pooled to one pixel before or here
    roots: frozenset[Any] = frozenset()  # the autograd node of the feature when the call returned
    nodes: frozenset[Any] = frozenset()  # the nodes of all outputs

    def sees(self) -> bool:
        """Whether its output contains a map or tokens."""
        return bool(self.grid) or any(child.sees() for child in self.children)


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Restore everything that a dry run may change: attributes of modules, requires_grad, buffers and random states."""
    modules = [(module, dict(vars(module)), dict(module._buffers)) for module in network.modules()]
    grads = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        with own_randomness():
            yield
    finally:
        for module, attributes, its_buffers in modules:  # since train() and eval() may change more than modes
            for now, before in ((vars(module), attributes), (module._buffers, its_buffers)):
                now.clear()
                now.update(before)
        for parameter, requires_grad in grads:
            parameter.requires_grad_(requires_grad)
        with torch.no_grad():
            for buffer, content in buffers:
                if not torch.equal(buffer, content):
                    buffer.copy_(content)


class _NoCheckpoint:
    """Stands in for the re-entrant checkpoint, which hides the parameters inside from the autograd graph."""

    @staticmethod
    def apply(function: Any, _preserve: bool, *args: Any) -> Any:
        return function(*args)


def dry_run(network: nn.Module, inputs: Tensor) -> tuple[list[Call], list[Call]]:
    """Run ``extract_feat`` and return the outermost calls, and every call in the order in which they returned."""
    from mmcv.cnn import is_norm  # a head is imported where no toolbox is

    calls: list[Call] = []
    running = [Call('', 0)]
    counts: Counter[str] = Counter()
    hint: tuple[int, int] | None = None
    normed = True
    image = (inputs.shape[-2], inputs.shape[-1])

    def enter(name: str) -> None:
        counts[name] += 1
        running.append(Call(name, counts[name]))
        running[-2].children.append(running[-1])

    def grids_of(feature: Feature) -> list[tuple[int, int]]:
        return [grid for tensor in feature if (grid := _grid_of(tuple(tensor.shape[1:]), image, hint))]

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal hint, normed
        call = running.pop()
        hint = _grid_in(output) or hint
        if (norm := is_norm(module)) or next(module.parameters(recurse=False), None) is not None:
            normed = norm
        call.normed = normed
        feature = maps_in(output, len(inputs))
        if grids := grids_of(feature):
            call.pooled = isinstance(module, _POOLS) or grids_of(maps_in(args, len(inputs))) == grids == [(1, 1)]
            call.shapes = tuple(tuple(tensor.shape[1:]) for tensor in feature)
            call.signed = is_signed(feature)
            call.grid = max(grids, key=math.prod)
            call.stride = math.sqrt(math.prod(image) / math.prod(call.grid))
            call.roots = frozenset(tensor.grad_fn for tensor in feature if tensor.grad_fn)
        elif not feature and (feature := feature_of(output, len(inputs))):  # vectors end a stage only where named
            call.shapes = tuple(tuple(tensor.shape[1:]) for tensor in feature)
            call.signed = is_signed(feature)
            call.stride = math.sqrt(math.prod(image))
            call.roots = frozenset(tensor.grad_fn for tensor in feature if tensor.grad_fn)
        call.nodes = frozenset(tensor.grad_fn for tensor in tensors_in(output) if tensor.grad_fn)
        calls.append(call)

    handles = []
    no_checkpoint = patch('torch.utils.checkpoint.CheckpointFunction', _NoCheckpoint)
    no_autocast = torch.autocast(inputs.device.type, enabled=False)
    try:
        with unchanged(network), torch.enable_grad(), no_autocast, no_checkpoint:
            network.eval()
            network.requires_grad_()
            for name, module in network.named_modules():
                replace_call(module, None)
                handles.append(module.register_forward_pre_hook(lambda _module, _args, name=name: enter(name)))
                handles.append(module.register_forward_hook(leave))
            extract(network, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return running[0].children, calls


def is_signed(feature: Feature) -> bool:
    """Whether it may have numbers below 0; after a ReLU it has none. Behind a norm that starts at zero all are 0."""
    return any(bool((tensor < 0).any()) for tensor in feature) or not any(bool(tensor.any()) for tensor in feature)


def extract(network: nn.Module, inputs: Tensor) -> Any:
    """The features of a batch, or a one-sentence error."""
    try:
        return network.extract_feat(inputs)  # type: ignore[operator]
    except Exception as error:  # a toolbox's networks may raise anything
        raise UserError(
            f'{type(network).__name__} cannot run on the training images of {inputs.shape[2]}x{inputs.shape[3]} pixels '
            f'({in_one_line(error)}); fix its config or the size of the images '
            "(train_dataloader.dataset.pipeline), which a detector's data_preprocessor.pad_size_divisor rounds up."
        ) from error


def _grid_in(output: Any) -> tuple[int, int] | None:
    """The height and width that a transformer's module returns with its tokens."""
    for part in output if isinstance(output, tuple | list) else ():
        if isinstance(part, tuple | list) and len(part) == 2 and all(isinstance(side, int) for side in part):
            return part[0], part[1]
    return None


def _grid_of(shape: tuple[int, ...], image: tuple[int, int], hint: tuple[int, int] | None) -> tuple[int, int] | None:
    """Rows and columns of a map (C, H, W) or (H, W, C), or of tokens (L, C); None for other shapes."""

    def fits(rows: int, columns: int) -> bool:
        return abs(rows * image[1] - columns * image[0]) < max(image)

    if len(shape) == 3:
        first, last = (shape[0], shape[1]), (shape[1], shape[2])
        return first if fits(*first) and not fits(*last) else last
    if len(shape) != 2:
        return None
    if hint and 0 <= shape[0] - math.prod(hint) <= _PREFIX_TOKENS:
        return hint
    for tokens in range(shape[0], max(shape[0] - _PREFIX_TOKENS - 1, 0), -1):
        rows = round(math.sqrt(tokens * image[0] / image[1])) or 1
        if tokens % rows == 0 and fits(rows, tokens // rows):
            return rows, tokens // rows
    return None
