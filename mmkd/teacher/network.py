"""The teacher: built from its own config, loaded, checked, frozen, and kept out of the module tree."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmkd.acceleration.batchnorm_folding import find_pairs, fold
from mmkd.checkpoints.safe_load import load_checkpoint
from mmkd.errors import UserError, did_you_mean, in_one_line
from mmkd.features.capture import Feature, StageEnd, run_to
from mmkd.features.padding import Padded, divisor_of
from mmkd.stages.trace import extract
from mmkd.teacher.pretrained import has_weights
from mmkd.utils.configs import load_config
from mmkd.utils.random_state import own_randomness


class UnfitWeightsError(UserError):
    """A file's weights do not fit the network that they are for.

    Args:
        checkpoint: The file's name.
        wrong: The names that do not fit, and why.
        state: What the file holds.
        own: What the network has.
    """

    def __init__(self, checkpoint: str, wrong: dict[str, str], state: dict, own: dict):
        self.state = state
        cure = 'Name the checkpoint that model.teacher.config trained.'
        backbone = {name: tensor for name, tensor in own.items() if name.startswith('backbone.')}
        if _fits({f'backbone.{name}': tensor for name, tensor in state.items()}, backbone):
            cure = (
                "Its names lack the prefix 'backbone.', as in files of torchvision and timm; save those of the "
                'backbone with it in a file of their own.'
            )
        super().__init__(f'model.teacher.checkpoint: {checkpoint} does not fit the teacher: {_listed(wrong)}. {cure}')

    def fit(self, network: nn.Module) -> bool:
        """Whether they would fit this one."""
        return _fits(self.state, network.state_dict())


class Teacher:
    """Holds the teacher network outside every module tree.

    It is no module on purpose: so it is in no ``parameters()``, no ``state_dict``, no DDP and no EMA copy, and
    ``train()`` cannot reach it.

    Args:
        config (str | dict): The teacher's own config: ``package::path``, a local path, or its content.
        checkpoint (str | None): Local path or URL of its weights. An explicit None leaves it untrained.
        parts (Sequence[str]): The children of the network that will run and so must be in the checkpoint.
    """

    def __init__(self, config: str | dict, checkpoint: str | None, parts: Sequence[str]):
        cfg = teacher_config(config)
        with own_randomness(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model = dict(cfg.model.get('student', cfg.model))  # of a distilled teacher's own distillation
            if cfg.get('data_preprocessor') is not None:
                model.setdefault('data_preprocessor', cfg.data_preprocessor)
            self.network: nn.Module = MODELS.build(model)
            if checkpoint is None:
                _say_untrained(self.network)
                self.network.init_weights()
        # whether all of it comes from the checkpoint, also the parts that never run
        self.whole = False
        self.classes: tuple[str, ...] = ()  # their names in its training data, where its checkpoint tells
        if checkpoint is not None:
            self.whole, self.classes = load_checked(self.network, checkpoint, parts)
        self.network.requires_grad_(False)
        freeze_modes(self.network)
        preprocessor = self.network.get_submodule('data_preprocessor')
        self.divisor, self.pad_value = divisor_of(preprocessor), getattr(preprocessor, 'pad_value', 0)
        if not isinstance(self.divisor, int) or self.divisor < 1:
            raise UserError(
                'model.teacher.config: its data_preprocessor.pad_size_divisor must be a whole number of pixels, 1 or '
                f'more, not {self.divisor!r}.'
            )

    def __deepcopy__(self, memo) -> 'Teacher':
        return self

    def turn(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move or cast each tensor of the network as the student's."""
        self.network._apply(fn)
        self.network.to(next(self.network.parameters()).device)  # tells its data preprocessor where it is
        freeze_modes(self.network)  # what some modules compute for the evaluation mode lies on the device, too

    def pad(self, inputs: Tensor) -> Padded:
        """To the multiples that its own config asks for."""
        return Padded.to_multiples(inputs, self.divisor, self.pad_value)

    @torch.no_grad()
    def try_on(self, inputs: Tensor) -> None:
        """Raise an error if the network cannot run on a batch."""
        try:
            extract(self.network, self.pad(inputs).inputs)
        except UserError as error:
            raise UserError(f'model.teacher: {error}') from error

    @torch.no_grad()
    def run_to(self, stages: Sequence[StageEnd], inputs: Tensor) -> list[Feature]:
        """The features of some stages, of a batch padded its way, that lie over the batch as it is."""
        padded = self.pad(inputs)
        return [padded.cut(feature) for feature in run_to(self.network, stages, padded.inputs)]

    def fold(self, inputs: Tensor, read: Collection[str]) -> None:
        """Fold batch norms permanently, except where the convolution's output is read."""
        fold(self.network, find_pairs(self.network, inputs, read))


def check_teacher_keys(teacher: Any) -> dict:
    """What a user may write for the teacher."""
    if not isinstance(teacher, dict):
        raise UserError(f'model.teacher: it must be a dict(config=..., checkpoint=...), not {teacher!r}.')
    missing = [key for key in ('config', 'checkpoint') if key not in teacher]
    unknown = sorted(set(teacher) - {'config', 'checkpoint'})
    if missing or unknown:
        lacks = f'lacks {" and ".join(missing)}' if missing else ''
        has = f'has unknown keys: {", ".join(unknown)}' if unknown else ''
        raise UserError(
            f'model.teacher: it {" and ".join(filter(None, [lacks, has]))}; write '
            'teacher=dict(config=..., checkpoint=...), with checkpoint=None if it is meant to be untrained.'
        )
    return teacher


def teacher_config(config: str | dict) -> Config:
    """The whole config of a teacher, from a path or from its content."""
    try:
        cfg = Config(copy.deepcopy(dict(config))) if isinstance(config, dict) else load_config(str(config))
    except UserError as error:
        raise UserError(f'model.teacher.config: {error}') from error
    if not isinstance(cfg.get('model'), dict):
        raise UserError('model.teacher.config: it has no model; name the whole config that trained the teacher.')
    return cfg


def _say_untrained(network: nn.Module) -> None:
    """Log that the teacher has no checkpoint, only the weights of its own config."""
    if has_weights('model.teacher.config.model', network):
        said = 'model.teacher.checkpoint is None: the teacher has the weights that its own config names, and no others.'
        print_log(said, logger='current')
    else:
        said = 'THE TEACHER IS NOT TRAINED: model.teacher.checkpoint is None, so its weights are random.'
        print_log(said, logger='current', level=logging.WARNING)


def freeze_modes(network: nn.Module) -> None:
    """Evaluation mode for every module; some backbones' own ``train`` does more than that, or less."""
    network.train(False)
    for module in network.modules():
        module.training = False


def load_checked(network: nn.Module, checkpoint: str, parts: Sequence[str]) -> tuple[bool, tuple[str, ...]]:
    """Load weights; raise an error if they do not fit the parts that will run.

    Returns:
        Whether it fits the rest too, and the names of the classes that the weights were trained for, if it tells.
    """
    (state, classes), own = _read(checkpoint), network.state_dict()
    unfit = {name: why for name in own if (why := _why(name, state, own))}
    rest = {name: why for name, why in unfit.items() if name.split('.')[0] not in parts}
    weights = {name for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}
    given = dict(state)
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
        raise UnfitWeightsError(checkpoint, wrong, given, own)
    print_log(
        f'Teacher loaded from {checkpoint}: {len(own.keys() - rest)} tensors'
        + (f'; not loaded, in parts that never run: {_listed(rest)}' if rest else ''),
        logger='current',
    )
    return all(name.endswith('num_batches_tracked') for name in own.keys() & rest), classes


def _read(checkpoint: str) -> tuple[OrderedDict, tuple[str, ...]]:
    """The state dict in a file, with the metadata that tells the network's own hooks its version; names of classes."""
    try:
        content = load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    except UserError as error:  # it is not trusted
        raise UserError(f'model.teacher.checkpoint: {error}') from error
    except FileNotFoundError as error:
        path = Path(checkpoint).expanduser()
        near = did_you_mean(path.name, [file.name for file in path.parent.glob('*')])
        raise UserError(f'model.teacher.checkpoint: {checkpoint} does not exist.{near}') from error
    except Exception as error:  # a damaged or foreign file may raise anything
        raise UserError(
            f'model.teacher.checkpoint: {checkpoint} cannot be read ({in_one_line(error)}): it is damaged, or no '
            'checkpoint of torch; get a good copy of it.'
        ) from error
    weights = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise UserError(f'model.teacher.checkpoint: {checkpoint} holds no state_dict, only a {type(content).__name__}.')
    state = OrderedDict((name.removeprefix('module.'), value) for name, value in weights.items())
    state._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    data = (content.get('meta') or {}).get('dataset_meta') or {}  # mmengine's; older files spelled classes differently
    return state, tuple(data.get('classes') or ())


def _why(name: str, state: dict, own: dict) -> str:
    """Why a tensor of the network cannot be loaded, ``''`` if it can."""
    if name not in state:
        return 'missing'
    shape, needed = tuple(getattr(state[name], 'shape', ())), tuple(own[name].shape)
    return f'{shape} instead of {needed}' if shape != needed else ''


def _fits(state: dict, own: dict) -> bool:
    """Whether every tensor of a network could be loaded."""
    return not any(_why(name, state, own) for name in own if not name.endswith('num_batches_tracked'))


def _listed(names: dict[str, str]) -> str:
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return ', '.join(f'{name} ({why})' for name, why in list(names.items())[:4]) + more


class Renormalise:
    """Turns images normalised for the student into images normalised as the teacher's own config does it.

    What pads them to the size of their batch gets the teacher's value. Where that is, mmdet's data samples tell;
    without them, what is padded is turned along with the rest. The batch keeps its size; see :meth:`Teacher.pad`.

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
        self.pad_value = getattr(teacher, 'pad_value', 0)
        self.factors: dict[tuple, tuple[Tensor, Tensor]] = {}  # by device and dtype, each copied there once
        self.same_padding = self.same and self.pad_value == getattr(student, 'pad_value', 0)

    def __call__(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        """The teacher's inputs; the same tensor if both normalise alike."""
        if self.same_padding:
            return inputs
        images = inputs
        if not self.same:
            images = inputs.flip(1) if self.swap else inputs
            scale, shift = self._factors(inputs)
            images = images * scale + shift
        sizes = [_size(sample, inputs) for sample in data_samples or ()]
        if all(size == inputs.shape[2:] for size in sizes):
            return images
        images = images.clone() if self.same else images
        for image, (height, width) in zip(images, sizes):
            image[:, height:] = self.pad_value
            image[:, :, width:] = self.pad_value
        return images

    def _factors(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        place = inputs.device, inputs.dtype
        if place not in self.factors:
            self.factors[place] = self.scale.to(inputs), self.shift.to(inputs)
        return self.factors[place]


def _size(sample, inputs: Tensor) -> tuple[int, int]:
    """Height and width of an image before it was padded to its batch; mmpretrain's samples do not tell reliably."""
    height, width = sample.img_shape[:2] if 'batch_input_shape' in sample else inputs.shape[2:]
    return height, width


def _normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return preprocessor.get_buffer('mean').cpu(), preprocessor.get_buffer('std').cpu()


def _swaps_channels(preprocessor: nn.Module) -> bool:
    """mmpretrain and mmengine name it differently."""
    return bool(getattr(preprocessor, 'to_rgb', False) or getattr(preprocessor, '_channel_conversion', False))
