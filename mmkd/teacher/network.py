"""The teacher: built from its own config, frozen, folded, and kept out of the module tree."""

import copy
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmkd.acceleration.batchnorm_folding import find_pairs, fold
from mmkd.errors import UserError
from mmkd.features.capture import Feature, StageEnd, run_to
from mmkd.features.padding import Padded, divisor_of
from mmkd.stages.trace import extract
from mmkd.teacher.checkpoint import UnfitWeightsError, load_checked
from mmkd.teacher.pretrained import has_weights
from mmkd.utils.configs import load_config
from mmkd.utils.random_state import own_randomness


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
            model = dict(cfg.model.get('student', cfg.model))  # of a teacher that was itself distilled
            if cfg.get('data_preprocessor') is not None:
                model.setdefault('data_preprocessor', cfg.data_preprocessor)
            self.network: nn.Module = MODELS.build(model)
            if checkpoint is None:
                _say_untrained(self.network)
                self.network.init_weights()
        # whether all of it comes from the checkpoint, also the parts that never run
        self.whole = False
        self.classes: tuple[str, ...] = ()  # the class names of its training data, if the checkpoint has them
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
        self.network.to(next(self.network.parameters()).device)  # its data preprocessor needs to know the device
        freeze_modes(self.network)  # some modules precompute tensors for evaluation mode

    def pad(self, inputs: Tensor) -> Padded:
        """The multiples to which its own config pads batches."""
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
        """The features of some stages for a batch padded its way, cut to the size of the unpadded batch."""
        padded = self.pad(inputs)
        return [padded.cut(feature) for feature in run_to(self.network, stages, padded.inputs)]

    def fold(self, inputs: Tensor, read: Collection[str]) -> None:
        """Fold batch norms permanently, except where the convolution's output is read."""
        fold(self.network, find_pairs(self.network, inputs, read))


def build_teacher(teacher: Any, parts: Sequence[str], student: nn.Module) -> Teacher:
    """The teacher that a user names; says so if the weights or sizes look as if student and teacher were swapped.

    Args:
        teacher: ``dict(config=..., checkpoint=...)``.
        parts: The children of the network that will run and so must be in the checkpoint.
        student: The network that will learn from it.
    """
    check_teacher_keys(teacher)
    try:
        built = Teacher(teacher['config'], teacher['checkpoint'], parts)
    except UnfitWeightsError as error:
        if error.fit(student):
            raise UserError(
                f'model.teacher.checkpoint: {teacher["checkpoint"]} fits model.student and not the teacher; name the '
                "teacher's own, or swap student and teacher where they stand the wrong way round."
            ) from error
        raise
    own, theirs = (sum(p.numel() for p in network.parameters()) for network in (student, built.network))
    if own > theirs:
        print_log(
            f'The student has more parameters ({own:,}) than its teacher ({theirs:,}): are the two swapped?',
            logger='current',
            level=logging.WARNING,
        )
    return built


def check_teacher_keys(teacher: Any) -> dict:
    """Check the option ``teacher``."""
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
    """Set every module to evaluation mode; the own ``train`` of some backbones changes more or less than that."""
    network.train(False)
    for module in network.modules():
        module.training = False
