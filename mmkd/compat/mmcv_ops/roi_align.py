"""RoIAlign: averages by torchvision's kernels, maxima (which torchvision lacks) by plain torch."""

import math

import torch
import torchvision
from torch import Tensor

from mmkd.compat.mmcv_ops.precision import at_least_fp32

_MAX = 0
_MOST = 2**24  # values at once: of many RoIs with many samples some at a time


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills ``output`` and, for maxima, the sample coordinates that won."""
    feature, rois = at_least_fp32(input), at_least_fp32(rois)
    size = (aligned_height, aligned_width)
    if pool_mode != _MAX:
        output.copy_(
            torchvision.ops.roi_align(feature, rois.to(feature.dtype), size, spatial_scale, sampling_ratio, aligned)
        )
        return
    y1, y2, x1, x2 = (side[:, None, None] for side in _sides(rois, spatial_scale, aligned))
    pixels = feature.flatten(2).transpose(1, 2)  # (images, pixels, channels)
    for which, rows, columns in _alike((y2 - y1) / aligned_height, (x2 - x1) / aligned_width, sampling_ratio):
        if not rows * columns:  # an empty RoI has no samples: nothing wins, as in mmcv
            output[which], argmax_y[which], argmax_x[which] = -10000, -1, -1
            continue
        shape = aligned_height, aligned_width, rows, columns
        most = max(1, _MOST // (feature.shape[1] * math.prod(shape)))
        for some in which.split(most):
            y = _samples_along(y1[some], y2[some], aligned_height, rows)[:, :, None, :, None].expand(-1, *shape)
            x = _samples_along(x1[some], x2[some], aligned_width, columns)[:, None, :, None, :].expand(-1, *shape)
            y, x = y.flatten(3), x.flatten(3)
            image = rois[some, 0].long()[:, None, None, None]
            corners = _corners(y, x, *feature.shape[2:])
            best = torch.stack([weight[..., None] * pixels[image, index] for index, weight in corners]).sum(0).max(-2)
            for result, values in (
                (output, best.values),
                (argmax_y, y.gather(-1, best.indices)),
                (argmax_x, x.gather(-1, best.indices)),
            ):
                result[some] = values.movedim(-1, 1).to(result.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills ``grad_input``."""
    grad, rois = at_least_fp32(grad_output), at_least_fp32(rois)
    if pool_mode != _MAX:
        grad_input.copy_(
            torch.ops.torchvision._roi_align_backward(
                grad,
                rois.to(grad.dtype),
                spatial_scale,
                aligned_height,
                aligned_width,
                *grad_input.shape,
                sampling_ratio,
                aligned,
            )
        )
        return
    sums = torch.zeros_like(grad_input, dtype=grad.dtype)
    plane = rois[:, 0].long()[:, None] * grad.shape[1] + torch.arange(grad.shape[1], device=grad.device)
    y, x = at_least_fp32(argmax_y), at_least_fp32(argmax_x)
    won = grad * (y != -1)
    for index, weight in _corners(y, x, *grad_input.shape[2:]):
        places = plane[:, :, None, None] * math.prod(grad_input.shape[2:]) + index
        sums.view(-1).index_add_(0, places.flatten(), (weight * won).flatten())
    grad_input.copy_(sums)


def _sides(rois: Tensor, scale: float, aligned: bool) -> list[Tensor]:
    """Top, bottom, left and right of RoIs in pixels of the feature."""
    x1, y1, x2, y2 = (rois[:, 1:] * scale - (0.5 if aligned else 0)).unbind(1)
    if not aligned:
        x2, y2 = torch.maximum(x2, x1 + 1), torch.maximum(y2, y1 + 1)
    return [y1, y2, x1, x2]


def _alike(height: Tensor, width: Tensor, sampling_ratio: int) -> list[tuple[Tensor, int, int]]:
    """Which RoIs have as many rows and columns of samples in a bin, and how many; the device is asked once at most."""
    everyone = torch.arange(len(height), device=height.device)
    if sampling_ratio > 0 or not len(height):
        return [(everyone, sampling_ratio, sampling_ratio)] if len(height) else []
    counts = torch.cat([height, width], 1).flatten(1).ceil().clamp(min=0).int().tolist()
    found: dict[tuple[int, int], list[int]] = {}
    for place, (rows, columns) in enumerate(counts):
        found.setdefault((rows, columns), []).append(place)
    order = torch.tensor([place for places in found.values() for place in places])
    groups = order.to(height.device, non_blocking=True).split([len(places) for places in found.values()])
    return [(group, *sizes) for group, sizes in zip(groups, found)]


def _samples_along(start: Tensor, end: Tensor, bins: int, samples: int) -> Tensor:
    """Coordinates of the samples of each bin, (RoIs, bins, samples)."""
    step = (end - start) / bins
    centres = (torch.arange(samples, device=start.device) + 0.5) * step / samples
    return start + torch.arange(bins, device=start.device)[:, None] * step + centres


def _corners(y: Tensor, x: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """Flat index and bilinear weight of the four pixels around each point; weight 0 outside."""
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, along = y - top, x - left
    return [
        (row * width + column, row_weight * column_weight * inside)
        for row, row_weight in ((top, 1 - down), (bottom, down))
        for column, column_weight in ((left, 1 - along), (right, along))
    ]
