"""RoIAlign: averages by torchvision's kernels, maxima (which torchvision lacks) by plain torch."""

import math

import torch
import torchvision
from torch import Tensor

from mmkd.compat.mmcv_ops.precision import at_least_fp32

_MAX = 0


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
    for i, roi in enumerate(rois):
        y, x = _sample_coordinates(roi, size, spatial_scale, sampling_ratio, aligned)
        if not y.numel():  # an empty RoI has no samples: nothing wins, as in mmcv
            output[i], argmax_y[i], argmax_x[i] = -10000, -1, -1
            continue
        corners = _corners(y, x, *feature.shape[2:])
        plane = feature[int(roi[0])].flatten(1)
        best = torch.stack([weight * plane[:, index] for index, weight in corners]).sum(0).max(dim=-1)
        output[i] = best.values
        argmax_y[i] = _pick(y, best.indices)
        argmax_x[i] = _pick(x, best.indices)


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
    planes = torch.zeros_like(grad_input, dtype=grad.dtype).flatten(2)
    batch = rois[:, 0].long()[:, None, None, None].expand_as(grad)
    channel = torch.arange(grad.shape[1], device=grad.device)[:, None, None].expand_as(grad)
    y, x = at_least_fp32(argmax_y), at_least_fp32(argmax_x)
    won = y != -1
    for index, weight in _corners(y, x, *grad_input.shape[2:]):
        planes.index_put_((batch[won], channel[won], index[won]), (weight * grad)[won], accumulate=True)
    grad_input.copy_(planes.view_as(grad_input))


def _sample_coordinates(
    roi: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """The y and the x of every sample of one RoI, each of shape ``(height, width, samples)``."""
    x1, y1, x2, y2 = roi[1:] * scale - (0.5 if aligned else 0)
    rows = _samples_along(y1, y2, size[0], sampling_ratio, aligned)
    columns = _samples_along(x1, x2, size[1], sampling_ratio, aligned)
    shape = (size[0], size[1], rows.shape[1], columns.shape[1])
    return (rows[:, None, :, None].expand(shape).flatten(2), columns[None, :, None, :].expand(shape).flatten(2))


def _samples_along(start: Tensor, end: Tensor, bins: int, sampling_ratio: int, aligned: bool) -> Tensor:
    length = end - start if aligned else (end - start).clamp(min=1)
    step = length / bins
    samples = sampling_ratio if sampling_ratio > 0 else math.ceil(float(step))
    centres = (torch.arange(samples, device=start.device) + 0.5) * step / max(samples, 1)
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


def _pick(coordinates: Tensor, winner: Tensor) -> Tensor:
    return coordinates.expand(*winner.shape, -1).gather(-1, winner[..., None]).squeeze(-1)
