"""Loads a teacher's checkpoint; its errors say which weights do not fit."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from torch import nn

from mmkd.checkpoints.safe_load import load_named
from mmkd.errors import UserError


@dataclass(frozen=True)
class Whose:
    """Whose weights are loaded, for messages.

    Args:
        key: Of the checkpoint.
        network: What the network is called.
        config: Of what trained it.
    """

    key: str
    network: str
    config: str


TEACHER = Whose('model.teacher.checkpoint', 'teacher', 'model.teacher.config')


class UnfitWeightsError(UserError):
    """A file's weights do not fit the network that they are for.

    Args:
        whose: Is loaded.
        checkpoint: The file's name.
        wrong: The names that do not fit, and why.
        state: What the file holds.
        own: What the network has.
    """

    def __init__(self, whose: Whose, checkpoint: str, wrong: dict[str, str], state: dict, own: dict):
        self.state = state
        cure = _renaming(state, own) or f'Name the checkpoint that {whose.config} trained.'
        super().__init__(f'{whose.key}: {checkpoint} does not fit the {whose.network}: {_some(wrong)}. {cure}')

    def fit(self, network: nn.Module) -> bool:
        """Whether the weights would fit this network."""
        return _fits(self.state, network.state_dict())


def load_checked(
    network: nn.Module, checkpoint: str, parts: Sequence[str], whose: Whose = TEACHER
) -> tuple[bool, tuple[str, ...]]:
    """Load weights; raise an error if they do not fit the parts that will run.

    Returns:
        Whether it fits the rest too, and the names of the classes that the weights were trained for, if it tells.
    """
    (state, classes), own = _read(whose.key, checkpoint), network.state_dict()
    unfit = {name: why for name in own if (why := _why(name, state, own))}
    rest = {name: why for name, why in unfit.items() if name.split('.')[0] not in parts}
    weights = {name for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}
    given = dict(state)
    for name in rest:
        state.pop(name, None)
    try:  # a network's own hooks may make a tensor fit, as a ViT resizes its position embedding
        keys = network.load_state_dict(state, strict=False)
        wrong = {name: 'missing' for name in keys.missing_keys if name not in rest}
        for name in keys.unexpected_keys:  # a deeper network's checkpoint contains all that a shallower one needs
            (wrong if name.split('.')[0] in parts and name in weights else rest)[name] = 'unknown'
    except RuntimeError as error:
        wrong = {name: why for name, why in unfit.items() if name not in rest} or {
            ' '.join(str(error).split()): 'error'
        }
    wrong = {name: why for name, why in wrong.items() if not name.endswith('num_batches_tracked')}
    if wrong:
        raise UnfitWeightsError(whose, checkpoint, wrong, given, own)
    _check_numbers(network, checkpoint, rest, whose)
    print_log(
        f'{whose.network.capitalize()} loaded from {checkpoint}: {len(own.keys() - rest)} tensors'
        + (f'; not loaded, in parts that never run: {_some(rest)}' if rest else ''),
        logger='current',
    )
    return all(name.endswith('num_batches_tracked') for name in own.keys() & rest), classes


def _check_numbers(network: nn.Module, checkpoint: str, rest: Collection[str], whose: Whose) -> None:
    """Raise an error if a tensor outside of the rest is not all finite."""
    broken = [name for name, tensor in network.state_dict().items() if name not in rest and not tensor.isfinite().all()]
    if broken:
        raise UserError(
            f'{whose.key}: {checkpoint} holds NaN or infinite numbers in {_first(broken)}: its training diverged. '
            'Name another one.'
        )


def check_start(network: nn.Module, checkpoint: str, whose: Whose) -> None:
    """Raise an error for weights to start from if nothing of the backbone is among them; warn if not all weights are.

    Another head is allowed. A network without a backbone is checked as a whole.
    """
    (state, _), own = _read(whose.key, checkpoint), network.state_dict()
    weights = [name for name in own if not name.endswith('num_batches_tracked')]
    unfit = {name: why for name in weights if (why := _why(name, state, own))}
    needed = [name for name in weights if name.startswith('backbone.')] or weights
    if unfit.keys() >= set(needed):
        raise UnfitWeightsError(whose, checkpoint, {name: unfit[name] for name in needed}, state, own)
    if unfit:
        print_log(
            f'{whose.key}: {checkpoint} has no tensor of the same name and shape for {len(unfit)} of the '
            f'{len(weights)} tensors of the {whose.network}: {_some(unfit)}.',
            logger='current',
            level=logging.WARNING,
        )


def _read(key: str, checkpoint: str) -> tuple[OrderedDict, tuple[str, ...]]:
    """The state dict in a file with the metadata that network hooks read their version from, and the class names."""
    content = load_named(key, checkpoint)
    weights = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise UserError(f'{key}: {checkpoint} holds no state_dict, only a {type(content).__name__}.')
    state = OrderedDict((name.removeprefix('module.'), value) for name, value in weights.items())
    state._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    data = (content.get('meta') or {}).get('dataset_meta') or {}  # mmengine's; older files spelled classes differently
    return state, tuple(data.get('classes') or ())


def _why(name: str, state: dict, own: dict) -> str:
    """The reason why a tensor of the network cannot be loaded, ``''`` if it can."""
    if name not in state:
        return 'missing'
    if not torch.is_tensor(state[name]):
        return 'no tensor'
    shape, needed = tuple(state[name].shape), tuple(own[name].shape)
    return f'{shape} instead of {needed}' if shape != needed else ''


def _fits(state: dict, own: dict) -> bool:
    """Whether every tensor of a network could be loaded."""
    return not any(_why(name, state, own) for name in own if not name.endswith('num_batches_tracked'))


def _renaming(state: dict, own: dict) -> str:
    """What to do with a file whose weights only have other names than the backbone's, ``''`` for other files."""
    needed = {name: tensor for name, tensor in own.items() if name.startswith('backbone.')}
    first = next(iter(needed), '')
    more = next((name.removesuffix(first) for name in state if name.endswith(f'.{first}')), '')
    if _fits({f'backbone.{name}': tensor for name, tensor in state.items()}, needed):
        return (
            "Its names lack the prefix 'backbone.', as in files of torchvision and timm; save those of the "
            'backbone with it in a file of their own.'
        )
    if more and _fits({name.removeprefix(more): tensor for name, tensor in state.items()}, needed):
        return f'Its names begin with {more!r}; save them without it in a file of their own.'
    inner = [key for key, weights in state.items() if isinstance(weights, dict) and _fits(weights, needed)]
    return f"Its weights are under {inner[0]!r}; save them under 'state_dict' in a file of their own." if inner else ''


def _some(names: dict[str, str]) -> str:
    return _first([f'{name} ({why})' for name, why in names.items()])


def _first(names: list[str]) -> str:
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return ', '.join(names[:4]) + more
