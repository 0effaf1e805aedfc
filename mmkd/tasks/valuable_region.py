"""Where a detector's boxes are worth comparing besides the places of objects (LD, Zheng et al., arXiv 2204.05957)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou, distance_box_iou

SHARE = 0.25  # of the threshold for objects, from which on a place is valuable
NEAREST = 9  # anchors a level, if the student's assigner names no number


def valuable_region(anchors: Sequence[Tensor], valid: Sequence[Tensor], boxes: Tensor, nearest: int) -> list[Tensor]:
    """The weight of each anchor of an image: its IoU with the box that it lies near, 0 where it is not valuable.

    A box's threshold is ATSS's: mean and deviation of the IoUs of those anchors of each level that are nearest to its
    centre, added. An anchor is valuable if its distance IoU with a box is below that threshold and not below a quarter.

    Args:
        anchors: By levels, (n, 4) as x1, y1, x2, y2.
        valid: By levels, which anchors count.
        boxes: The true ones, (m, 4).
        nearest: How many anchors a level make the threshold.
    """
    weights = [level.new_zeros(len(level)) for level in anchors]
    counted = [level[use] for level, use in zip(anchors, valid)]
    flat = torch.cat(counted)
    if not len(boxes) or not len(flat):
        return weights
    overlaps, near = box_iou(flat, boxes), distance_box_iou(flat, boxes)
    candidates = [_nearest(level, boxes, nearest) for level in counted if len(level)]
    ious = torch.cat([box_iou(level, boxes).gather(0, one) for level, one in zip(filter(len, counted), candidates)])
    threshold = ious.mean(0) + ious.std(0)
    valuable = (near < threshold) & (near >= SHARE * threshold)
    found = (overlaps * valuable).amax(1).split([len(level) for level in counted])
    for level, use, one in zip(weights, valid, found):
        level[use] = one
    return weights


def _nearest(anchors: Tensor, boxes: Tensor, number: int) -> Tensor:
    """Which anchors have their centre nearest to each box's: (number or fewer, boxes)."""
    own, theirs = ((x[:, :2] + x[:, 2:]) / 2 for x in (anchors, boxes))
    distances = (own[:, None] - theirs).square().sum(2)
    return distances.topk(min(number, len(anchors)), dim=0, largest=False).indices
