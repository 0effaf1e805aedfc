"""What losses ask for beside what they compare: of the data, and of the teacher."""

import copy
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.objectives.networks import Networks
from mmkd.objectives.objective import Step
from mmkd.objectives.term_options import PREDICTIONS
from mmkd.registry import MODELS
from mmkd.tasks.base import Scores
from mmkd.utils.random_state import own_randomness


def labels(samples: Sequence[Any]) -> Tensor:
    """The class of each image."""
    return torch.cat([sample.gt_label for sample in samples])


def indices(samples: Sequence[Any]) -> Tensor:
    """The place of each image in the training set."""
    device = samples[0].gt_label.device
    places = torch.tensor([sample.sample_idx for sample in samples], pin_memory=device.type == 'cuda')
    return places.to(device, non_blocking=True)


def boxes(samples: Sequence[Any]) -> list[Tensor]:
    """The true boxes of each image in pixels."""
    of_images = [sample.gt_instances.bboxes for sample in samples]
    return [getattr(of_one, 'tensor', of_one) for of_one in of_images]


def image_sizes(samples: Sequence[Any]) -> list[tuple[int, int]]:
    """Height and width of each image without padding."""
    return [tuple(sample.img_shape[:2]) for sample in samples]


OF_SAMPLES: dict[str, Callable[[Sequence[Any]], Any]] = dict(
    labels=labels, indices=indices, boxes=boxes, image_sizes=image_sizes
)
IN_SAMPLES = dict(labels='gt_label', indices='sample_idx', boxes='gt_instances', image_sizes='img_shape')
"""What a sample must have for it."""
TEACHER_HEAD = 'teacher_head'


def build_loss(key: str, cfg: dict, known: Sequence[str] = ()) -> nn.Module:
    """A loss of two arguments, or more that it names in ``needs``; what it draws changes no other number.

    Args:
        key: In messages.
        cfg: Of the loss.
        known: Other arguments that it gets.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise UserError(f"{key}: it must be a loss such as dict(type='mmkd.PKDLoss'), not {cfg!r}.")
    with own_randomness():
        loss = MODELS.build(cfg)
    lacking = [
        name
        for name, parameter in list(signature(loss.forward).parameters.items())[2:]
        if parameter.default is Parameter.empty
        and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and name not in (*needs_of(loss), *known)
    ]
    if lacking:
        raise UserError(
            f'{key}: {type(loss).__name__} needs {" and ".join(lacking)}, which nobody gives it here; take another '
            f'loss{elsewhere(loss)}.'
        )
    return loss


def elsewhere(loss: nn.Module) -> str:
    """Where a loss of what detectors predict belongs, for messages."""
    form = getattr(loss, 'compares', 'nothing')
    places = [repr(place) for place, forms in PREDICTIONS.items() if form in forms]
    return f', or a term of mmkd.FeatureKD with places={" or ".join(places)}' if places else ''


def needs_of(loss: nn.Module) -> tuple[str, ...]:
    """What a loss asks for in each call."""
    return getattr(loss, 'needs', ())


def reads_teacher_head(cfg: object) -> bool:
    """Whether a loss of this config, not built yet, asks for the teacher's head."""
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return TEACHER_HEAD in getattr(kind, 'needs', ())


def needs_samples(loss: nn.Module) -> bool:
    """Whether it asks for ground truth, which images without labels lack."""
    return any(name in OF_SAMPLES for name in needs_of(loss))


def given(loss: nn.Module, networks: Networks, step: Step, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a loss asks for in an iteration; some of it may be known already."""
    found: dict[str, Any] = {
        name: known[name] if known and name in known else OF_SAMPLES[name](step.data_samples or ())
        for name in needs_of(loss)
        if name in OF_SAMPLES
    }
    if TEACHER_HEAD in needs_of(loss):
        head = networks.teacher.network.get_submodule('head')
        found[TEACHER_HEAD] = lambda pooled: head((pooled,))
    return found


def try_on(key: str, loss: nn.Module, scores: Scores | None) -> None:
    """Refuse a loss that cannot compare scores of this kind; it is tried on a few of them, twice the same."""
    if scores is None or hasattr(loss, 'build_for') or set(needs_of(loss)) - {'labels'}:
        return
    logits = scores if isinstance(scores, Tensor) else scores.logits
    labels = {name: logits.new_zeros(len(logits), dtype=torch.long) for name in needs_of(loss)}
    try:
        with torch.no_grad(), own_randomness():
            copy.deepcopy(loss)(scores, scores, **labels)  # what it counts or averages begins with the training
    except UserError as error:
        raise UserError(f'{key}: {error}') from error


def check_given(key: str, loss: nn.Module, networks: Networks, known: Sequence[str] = ()) -> None:
    """Refuse a loss that asks for what the data, or the teacher, do not have.

    Args:
        key: In messages.
        loss: Any.
        networks: Know the data.
        known: What it gets from elsewhere.
    """
    kind, network = type(loss).__name__, networks.teacher.network
    if TEACHER_HEAD in needs_of(loss) and not hasattr(getattr(network, 'head', None), 'fc'):
        raise UserError(
            f'{key}: {kind} needs a teacher whose head is one linear layer behind pooled features, and a '
            f'{type(network).__name__} has none such; take another loss.'
        )
    networks.reads_places |= 'indices' in needs_of(loss)
    if networks.training_set is None:
        return
    asked = [name for name in needs_of(loss) if name not in known]
    for name in asked:
        if name in OF_SAMPLES and any(IN_SAMPLES[name] not in sample for sample in networks.training_set.samples):
            raise UserError(
                f'{key}: {kind} needs {name.replace("_", " ")}, and the samples of train_dataloader have no '
                f'{IN_SAMPLES[name]}; take another loss, or let the pipeline pack it.'
            )
    if 'indices' in asked and networks.training_set.joined:
        raise UserError(
            f"{key}: {kind} needs each image's place in the training set, and train_dataloader.dataset joins several "
            'data sets that each count from 0; take one data set, or another loss.'
        )
    if 'labels' in asked and any(sample.gt_label.numel() != 1 for sample in networks.training_set.samples):
        raise UserError(f'{key}: {kind} needs one label an image, and these have several; take another loss.')
    augments = getattr(getattr(networks.preprocessor, 'batch_augments', None), 'augments', ())
    if 'labels' in asked and augments:
        raise UserError(
            f'{key}: {kind} needs one label an image, and model.student.train_cfg.augments mixes them '
            f'({", ".join(type(augment).__name__ for augment in augments)}); leave out one of the two.'
        )


def build_for(
    key: str,
    loss: nn.Module,
    networks: Networks,
    shapes: tuple[Sequence[tuple[int, ...]], Sequence[tuple[int, ...]]],
    norms: Sequence[tuple[Tensor, Tensor] | None] = (),
) -> None:
    """Let a loss make what it has to learn.

    Args:
        key: In messages.
        loss: Any; most have nothing to learn.
        networks: The student and its teacher.
        shapes: Of the student's and the teacher's tensors that it will get.
        norms: The batch norm that each of the teacher's comes out of.
    """
    if not hasattr(loss, 'build_for'):
        return
    training_set = networks.training_set
    known = dict(samples=None if training_set is None else training_set.images, teacher_norms=norms or None)
    wanted = {name: known.get(name) for name in getattr(loss, 'build_needs', ())}
    try:
        with own_randomness():
            loss.build_for(*shapes, **wanted)  # type: ignore[operator]
    except UserError as error:
        raise UserError(f'{key}: {error}') from error


def norm_at(network: nn.Module, path: str) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of the batch norm at a path, None if it is something else."""
    module: Any = network.get_submodule(path)
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
    return (module.weight.detach().clone(), module.bias.detach().clone()) if is_norm else None  # type: ignore[operator]
