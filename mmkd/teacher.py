"""The teacher: built from its own config, loaded, checked, frozen, and kept out of the student's way."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmkd.configs import load_config
from mmkd.errors import UserError, did_you_mean
from mmkd.random_state import own_randomness
from mmkd.untrusted import load_checkpoint


class Teacher:
    """Holds the teacher network outside every module tree.

    It is no module on purpose: so it is in no ``parameters()``, no ``state_dict``, no DDP and no EMA copy, and
    ``train()`` cannot reach it.

    Args:
        config (str | dict): The teacher's own config: ``package::path``, a local path, or its content.
        checkpoint (str | None): Local path or URL of its weights. None, which must be said, leaves it untrained.
        parts (Sequence[str]): The children of the network that will run and so must be in the checkpoint.
    """

    def __init__(self, config: str | dict, checkpoint: str | None, parts: Sequence[str]):
        cfg = Config(copy.deepcopy(dict(config))) if isinstance(config, dict) else load_config(str(config))
        if cfg.get('model') is None:
            raise UserError('model.teacher.config: it has no model; name the whole config that trained the teacher.')
        with own_randomness(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model = dict(cfg.model)
            if cfg.get('data_preprocessor') is not None:
                model.setdefault('data_preprocessor', cfg.data_preprocessor)
            self.network: nn.Module = MODELS.build(model)
            if checkpoint is None:
                print_log(
                    'THE TEACHER IS NOT TRAINED: model.teacher.checkpoint is None, its weights are initialised only.',
                    logger='current',
                    level=logging.WARNING,
                )
                self.network.init_weights()
        # whether all of it comes from the checkpoint, also the parts that never run
        self.whole = checkpoint is not None and load_checked(self.network, checkpoint, parts)
        self.network.requires_grad_(False)
        freeze_modes(self.network)

    def __deepcopy__(self, memo) -> 'Teacher':
        return self

    def to(self, device: torch.device | str) -> None:
        """Move the network."""
        self.network.to(device)


def freeze_modes(network: nn.Module) -> None:
    """Evaluation mode for every module; some backbones' own ``train`` and ``eval`` do more than that."""
    for module in network.modules():
        module.training = False


def load_checked(network: nn.Module, checkpoint: str, parts: Sequence[str]) -> bool:
    """Load weights, and refuse a file that does not fit the parts that will run; tell whether it fits the rest too."""
    state, own = _read(checkpoint), network.state_dict()
    unfit = {name: why for name in own if (why := _why(name, state, own))}
    rest = {name: why for name, why in unfit.items() if name.split('.')[0] not in parts}
    weights = {name for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}
    for name in rest:
        state.pop(name, None)
    try:  # the network's own hooks may make a tensor fit, as a ViT resizes its position embedding
        keys = network.load_state_dict(state, strict=False)
        wrong = {name: 'missing' for name in keys.missing_keys if name not in rest}
        for name in keys.unexpected_keys:  # a deeper network's checkpoint holds all that a shallower one wants
            (wrong if name.split('.')[0] in parts and name in weights else rest)[name] = 'unknown'
    except RuntimeError as error:
        wrong = {name: why for name, why in unfit.items() if name not in rest} or {
            ' '.join(str(error).split()): 'error'
        }
    wrong = {name: why for name, why in wrong.items() if not name.endswith('num_batches_tracked')}
    if wrong:
        raise UserError(
            f'model.teacher.checkpoint: {checkpoint} does not fit the teacher: {_listed(wrong)}. '
            'Name the checkpoint that model.teacher.config trained.'
        )
    print_log(
        f'Teacher loaded from {checkpoint}: {len(own.keys() - rest)} tensors'
        + (f'; not loaded, in parts that never run: {_listed(rest)}' if rest else ''),
        logger='current',
    )
    return all(name.endswith('num_batches_tracked') for name in own.keys() & rest)


def _read(checkpoint: str) -> OrderedDict:
    """The state dict in a file, with the metadata that tells the network's own hooks its version."""
    try:
        content = load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    except UserError as error:  # it is not trusted
        raise UserError(f'model.teacher.checkpoint: {error}') from error
    except FileNotFoundError as error:
        path = Path(checkpoint).expanduser()
        near = did_you_mean(path.name, [file.name for file in path.parent.glob('*')])
        raise UserError(f'model.teacher.checkpoint: {checkpoint} does not exist.{near}') from error
    except Exception as error:  # a damaged or foreign file may raise anything
        reason = str(error).partition('\n')[0] or type(error).__name__
        raise UserError(f'model.teacher.checkpoint: {checkpoint} cannot be read ({reason}).') from error
    weights = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise UserError(f'model.teacher.checkpoint: {checkpoint} holds no state_dict, only a {type(content).__name__}.')
    state = OrderedDict((name.removeprefix('module.'), value) for name, value in weights.items())
    state._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    return state


def _why(name: str, state: dict, own: dict) -> str:
    """Why a tensor of the network cannot be loaded, ``''`` if it can."""
    if name not in state:
        return 'missing'
    shape, needed = tuple(getattr(state[name], 'shape', ())), tuple(own[name].shape)
    return f'{shape} instead of {needed}' if shape != needed else ''


def _listed(names: dict[str, str]) -> str:
    more = f' and {len(names) - 8} more' if len(names) > 8 else ''
    return ', '.join(f'{name} ({why})' for name, why in list(names.items())[:8]) + more


class Renormalise:
    """Turns images normalised for the student into images normalised as the teacher's own config does it.

    What the student's preprocessor padded is turned along with the rest, from the student's padding value.

    Args:
        student (nn.Module): The student's data preprocessor.
        teacher (nn.Module): The teacher's.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module):
        (mean, std), (new_mean, new_std) = _normalisation(student), _normalisation(teacher)
        self.swap = _swaps_channels(student) != _swaps_channels(teacher)
        if self.swap:
            mean, std = mean.flip(0), std.flip(0)
        self.scale, self.shift = std / new_std, (mean - new_mean) / new_std
        self.same = not self.swap and bool((self.scale == 1).all() and (self.shift == 0).all())

    def __call__(self, inputs: Tensor) -> Tensor:
        """The teacher's inputs; the very same tensor where the two agree."""
        if self.same:
            return inputs
        images = inputs.flip(1) if self.swap else inputs
        return images * self.scale.to(inputs) + self.shift.to(inputs)


def _normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return preprocessor.get_buffer('mean').cpu(), preprocessor.get_buffer('std').cpu()


def _swaps_channels(preprocessor: nn.Module) -> bool:
    """mmpretrain and mmengine name it differently."""
    return bool(getattr(preprocessor, 'to_rgb', False) or getattr(preprocessor, '_channel_conversion', False))
