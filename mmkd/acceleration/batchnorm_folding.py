"""Folds frozen batch norms into the convolutions before them: the same outputs in less time."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from mmkd.features.capture import tensors_in
from mmkd.stages.trace import unchanged

Pair = tuple[str, str]
"""Paths of a convolution and of the batch norm after it."""


def find_pairs(network: nn.Module, inputs: Tensor, read: Collection[str] = ()) -> list[Pair]:
    """Find convolutions that run once per forward and whose output only one batch norm reads.

    Args:
        network: Runs ``extract_feat`` once, in eval mode; nothing of it changes.
        inputs: A batch as it gets it.
        read: Paths of modules whose output is also read elsewhere; such convolutions are not folded.
    """
    calls: Counter[str] = Counter()
    made: dict[Any, str] = {}  # a convolution's output, by the node of the autograd graph that it comes from
    pairs: dict[str, tuple[str, Any]] = {}  # a batch norm's convolution, and that node

    def watch(name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        calls[name] += 1
        if output.grad_fn is None:  # it runs again for its gradient
            return
        if type(module) is nn.Conv2d:
            made[output.grad_fn] = name
        elif args and args[0].grad_fn in made:
            pairs[name] = made[args[0].grad_fn], args[0].grad_fn

    names = Counter(module for _, module in network.named_modules(remove_duplicate=False))
    handles = [
        module.register_forward_hook(lambda *call, name=name: watch(name, *call))
        for name, module in network.named_modules()
        if _foldable(module) and names[module] == 1
    ]
    try:
        with unchanged(network), torch.enable_grad(), torch.autocast(inputs.device.type, enabled=False):
            network.eval()
            network.requires_grad_()
            uses = _uses(network.extract_feat(inputs))  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return [
        (conv, norm)
        for norm, (conv, node) in pairs.items()
        if calls[conv] == calls[norm] == uses[node] == 1 and not any(_ends(path, conv, norm) for path in read)
    ]


def _foldable(module: nn.Module) -> bool:
    """Subclasses that do more do not count: timm's batch norms contain the activation."""
    if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
        does_no_more = type(module).forward in (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)
        return does_no_more and module.track_running_stats
    return type(module) is nn.Conv2d


def _ends(path: str, conv: str, norm: str) -> bool:
    """Whether a module's output may be the convolution's: it contains the convolution, but not the norm."""
    return f'{conv}.'.startswith(f'{path}.') and not f'{norm}.'.startswith(f'{path}.')


def _uses(output: Any) -> Counter:
    """How many operators of the autograd graph read the output of each node."""
    uses: Counter = Counter()
    waiting = [tensor.grad_fn for tensor in tensors_in(output) if tensor.grad_fn]
    seen = set(waiting)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            uses[node] += 1
            if node is not None and node not in seen:
                seen.add(node)
                waiting.append(node)
    return uses


def fold(network: nn.Module, pairs: Sequence[Pair]) -> None:
    """Fold permanently and remove the batch norms."""
    for conv, norm in pairs:
        parts: Any = network.get_submodule(conv), network.get_submodule(norm)
        network.set_submodule(conv, fuse_conv_bn_eval(*parts))
        network.set_submodule(norm, nn.Identity())


class FrozenNorms:
    """Batch norms of a network that is saved, folded only for as long as they are frozen.

    The modules stay as they are, and with them what is saved. Their forward is replaced, so hooks on them still run.
    When their weights change, by a checkpoint say, they must be refreshed.

    Args:
        network: Contains the pairs.
        pairs: As :func:`find_pairs` found them.
    """

    def __init__(self, network: nn.Module, pairs: Sequence[Pair]):
        # made once: compiled code would see a new object as new code
        self.forwards = [
            _FoldedForward(network.get_submodule(conv), network.get_submodule(norm)) for conv, norm in pairs
        ]

    def refresh(self) -> None:
        """Fold what is frozen and unfold what is trained."""
        for forward in self.forwards:
            conv, norm = forward.conv, forward.norm
            frozen = not norm.training and not any(p.requires_grad for m in (conv, norm) for p in m.parameters())
            for module in (conv, norm):
                unfold(module)
            forward.weight = forward.bias = None
            forward.low.clear()
            if frozen:
                vars(conv)['forward'], vars(norm)['forward'] = forward, _unchanged


def unfold(network: nn.Module) -> None:
    """Undo :class:`FrozenNorms` in the modules of a network, or of a copy of it."""
    for module in network.modules():
        vars(module).pop('forward', None)


def fold_waiting(modules: Iterable[nn.Module]) -> None:
    """Fold now instead of at the first call."""
    for module in modules:
        forward = vars(module).get('forward')
        if isinstance(forward, _FoldedForward) and forward.weight is None:
            forward.fold()


class _FoldedForward:
    """Runs in place of a convolution; it folds at its first call, since later stages never run."""

    def __init__(self, conv: Any, norm: Any):
        self.conv, self.norm = conv, norm
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.low: dict[torch.dtype, tuple[Tensor, Tensor]] = {}  # the same, as autocast would cast them in each call

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight is None:
            self.fold()
        # compiled code casts while it computes
        if not torch.compiler.is_compiling() and torch.is_autocast_enabled(x.device.type):
            return self.conv._conv_forward(x, *self._cast(torch.get_autocast_dtype(x.device.type)))
        return self.conv._conv_forward(x, self.weight, self.bias)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        assert self.weight is not None
        assert self.bias is not None
        if dtype not in self.low:
            self.low[dtype] = self.weight.to(dtype), self.bias.to(dtype)
        return self.low[dtype]

    @torch.inference_mode(False)
    @torch.no_grad()
    def fold(self) -> None:
        conv, norm = self.conv, self.norm
        self.weight, self.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )


def _unchanged(x: Tensor) -> Tensor:
    return x
