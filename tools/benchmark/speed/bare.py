"""What the methods compute, in bare PyTorch with the networks' own modules: no hooks, runner or distiller."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, log_softmax, mse_loss

Feature = tuple[Tensor, ...]


def resnet(backbone: Any, x: Tensor) -> Iterator[Tensor]:
    """The groups of a ResNet of either toolbox, or of one for CIFAR."""
    norm = backbone.norm1 if hasattr(backbone, 'norm1') else backbone.bn1
    x = backbone.relu(norm(backbone.conv1(x)))
    x = backbone.maxpool(x) if hasattr(backbone, 'maxpool') else x
    for name in ('layer1', 'layer2', 'layer3', 'layer4'):
        if hasattr(backbone, name):
            x = getattr(backbone, name)(x)
            yield x


def swin(backbone: Any, x: Tensor) -> Iterator[Tensor]:
    """The stages of mmpretrain's Swin as tokens; the last one includes its norm."""
    x, size = backbone.patch_embed(x)
    x = backbone.drop_after_pos(x)
    for stage in backbone.stages:
        x, size = stage(x, size, do_downsample=False)
        yield x if stage.downsample else backbone.norm3(x)
        if stage.downsample:
            x, size = stage.downsample(x, size)


def walk(network: Any, x: Tensor) -> Iterator[Feature]:
    """The features of a network in order; each is computed when it is requested."""
    stages = swin if hasattr(network.backbone, 'patch_embed') else resnet
    features = []
    for feature in stages(network.backbone, x):
        features.append(feature)
        yield (feature,)
    if hasattr(network, 'bbox_head'):
        yield network.neck([features[i] for i in network.backbone.out_indices])


def feature(network: nn.Module, x: Tensor, index: int) -> Feature:
    """The feature of one stage; nothing after it runs."""
    return next(islice(walk(network, x), index, None))


def head(network: Any, last: Feature) -> Any:
    """The head's output for the last feature."""
    if hasattr(network, 'bbox_head'):
        return network.bbox_head(last)
    (pooled,) = (x.mean((2, 3)) if x.ndim == 4 else x.mean(1) for x in last)
    return network.head.fc(pooled)


def own_loss(network: Any, output: Any, samples: Sequence, dense: Any = None) -> Tensor:
    """The loss in the student's config; for detectors, the one of the dense head with this output."""
    if not hasattr(network, 'bbox_head'):
        return network.head.loss_module(output, torch.cat([s.gt_label for s in samples]), avg_factor=len(samples))
    scoring = dense.head if dense is not None else network.bbox_head
    losses = scoring.loss_by_feat(*output, [s.gt_instances for s in samples], [s.metainfo for s in samples])
    terms = [term for value in losses.values() for term in (value if isinstance(value, list) else [value])]
    return torch.stack([term.mean() for term in terms]).sum()


def mimic_loss(student: Feature, teacher: Feature) -> Tensor:
    """The squared distance of two pixels, as a mean, in units of the teacher's deviation; it varies by 128 at most."""
    terms = []
    for own, target in zip(student, teacher):
        channels = 1 if own.ndim == 4 else 2
        variance = target.var(correction=0)
        if target.shape[channels] > 128:
            each = target.movedim(channels, 0).flatten(1).var(1, correction=0)
            variance = torch.maximum(variance, each.sum() / 128)
        scale = variance.clamp(min=1).sqrt()
        terms.append(mse_loss(own / scale, target / scale, reduction='none').sum(channels).mean())
    return torch.stack(terms).mean()


def soft_loss(student: Any, teacher: Any, classes: int) -> Tensor:
    """The soft loss between classifiers' scores, or between the outputs of dense heads with sigmoids."""
    if isinstance(student, Tensor):
        pair = log_softmax(student / 4, 1), log_softmax(teacher / 4, 1)
        return kl_div(*pair, reduction='batchmean', log_target=True) * 16
    own, theirs = (torch.cat([rows(level, classes) for level in output[0]]) for output in (student, teacher))
    target = theirs.sigmoid()
    cross = binary_cross_entropy_with_logits(own, target, reduction='none')
    divergence = (cross - binary_cross_entropy_with_logits(theirs, target, reduction='none')).sum()
    return divergence / theirs.amax(1).sigmoid().sum().clamp(min=1)


def rows(scores: Tensor, classes: int) -> Tensor:
    """(places, classes) of a map."""
    return scores.permute(0, 2, 3, 1).reshape(-1, classes)


def tensors(output: Any) -> Feature:
    """The tensors in a module's output: some modules return sizes as well."""
    parts = output if isinstance(output, tuple | list) else (output,)
    return tuple(part for part in parts if isinstance(part, Tensor))
