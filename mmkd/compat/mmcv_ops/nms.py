"""Non-maximum suppression: hard, soft, and with the suppressed boxes listed."""

import torch
import torchvision
from torch import Tensor

from mmkd.compat.mmcv_ops.precision import at_least_fp32

_NAIVE, _LINEAR, _GAUSSIAN = range(3)


def _iou_with(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    sides = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset).clamp(min=0)
    inter = sides.prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    return inter / ((box[2:] - box[:2] + offset).prod() + areas - inter)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best first."""
    boxes = at_least_fp32(boxes)
    if offset:  # an inclusive pixel grid is one pixel wider
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], 1)
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices of the kept boxes; fills ``dets`` with their boxes and decayed scores."""
    order = torch.arange(len(boxes), device=boxes.device)
    scores = scores.clone()
    kept: list[Tensor] = []
    while len(order):
        best = int(scores.argmax())
        box, index = boxes[best], order[best]
        dets[len(kept)] = torch.cat([box, scores[best : best + 1]])
        kept.append(index)

        iou = _iou_with(box, boxes, offset)
        if method == _GAUSSIAN:
            scores = scores * torch.exp(-iou * iou / sigma)
        else:
            decayed = scores * (1 - iou) if method == _LINEAR else torch.zeros_like(scores)
            scores = torch.where(iou >= iou_threshold, decayed, scores)
        stay = scores >= min_score
        stay[best] = False
        boxes, scores, order = boxes[stay], scores[stay], order[stay]
    return torch.stack(kept) if kept else order


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """For each kept box, best first: its index, then those of the boxes it suppresses."""
    order = dets[:, 4].argsort(descending=True, stable=True)
    groups = []
    while len(order):
        overlaps = _iou_with(dets[order[0], :4], dets[order[1:], :4], offset=0) >= iou_threshold
        groups.append([int(order[0]), *order[1:][overlaps].tolist()])
        order = order[1:][~overlaps]
    return groups
