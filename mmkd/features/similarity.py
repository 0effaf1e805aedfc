"""How alike two features are, whatever their widths: linear CKA, and the cosine after the best linear map."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.features.capture import Feature
from mmkd.features.layout import Layout, StageLike

GRID = 4  # rows and columns that features are brought to: any two resolutions are compared, and memory stays small
_RIDGE = 1e-3  # of the mean variance


def pooled(stage: StageLike, feature: Feature) -> Tensor:
    """A stage's feature as (images, positions, channels), the levels of a pyramid one after the other."""
    rows = [F.adaptive_avg_pool2d(level, GRID).flatten(2).transpose(1, 2) for level in maps_of(stage, feature)]
    return torch.cat([level for level in rows if level.shape[2] == rows[0].shape[2]], dim=1)


def maps_of(stage: StageLike, feature: Feature) -> list[Tensor]:
    """A stage's feature as maps (images, channels, rows, columns), one for each level."""
    return [_as_map(Layout.of(stage, shape), tensor) for shape, tensor in zip(stage.shapes, feature)]


def _as_map(layout: Layout, tensor: Tensor) -> Tensor:
    if layout.channels_last:
        return tensor.permute(0, 3, 1, 2)
    if layout.prefix is None:
        return tensor
    rows, columns = layout.size(tensor)
    return tensor[:, layout.prefix :].transpose(1, 2).unflatten(2, (rows, columns))


def linear_cka(own: Tensor, other: Tensor) -> float:
    """Linear CKA of (images, ...) and (images, ...), without the bias of few images (Nguyen et al. 2021).

    1 for features that differ by a rotation and a scale, about 0 for independent ones; at least 4 images.
    """
    grams = [_gram(rows.flatten(1).double()) for rows in (own, other)]
    both, first, second = (_hsic(a, b) for a, b in ((grams[0], grams[1]), (grams[0], grams[0]), (grams[1], grams[1])))
    return float(both / (first * second).clamp(min=1e-30).sqrt()) if first > 0 and second > 0 else 0.0


def _gram(rows: Tensor) -> Tensor:
    rows = rows - rows.mean(0)
    rows = rows / rows.norm().clamp(min=1e-12)
    return (rows @ rows.T).fill_diagonal_(0)


def _hsic(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased estimate of Song et al. 2012; the diagonals are zero."""
    n = len(a)
    sums = a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a.sum(0) @ b.sum(0)) / (n - 2)
    return ((a * b).sum() + sums) / (n * (n - 3))


def mapped_cosine(own: Tensor, other: Tensor) -> float:
    """The mean cosine between vectors of ``other`` and a linear map of ``own``, both without their means.

    The map fits the even images best and is judged on the odd ones. Both are (images, positions, channels).
    """
    if own.shape[1] != other.shape[1]:  # of pyramids with other levels: only what both have in common, their mean
        own, other = own.mean(1, keepdim=True), other.mean(1, keepdim=True)
    (fit, judged), (target, wanted) = (
        (rows[0::2].flatten(0, 1).double(), rows[1::2].flatten(0, 1).double()) for rows in (own, other)
    )
    mean, target_mean = fit.mean(0), target.mean(0)
    fit, target = fit - mean, target - target_mean
    products = fit.T @ fit
    ridge = _RIDGE * products.diagonal().mean().clamp(min=1e-12)
    weight = torch.linalg.solve(products + ridge * torch.eye(len(products), dtype=products.dtype), fit.T @ target)
    return float(F.cosine_similarity((judged - mean) @ weight, wanted - target_mean, dim=1).mean())
