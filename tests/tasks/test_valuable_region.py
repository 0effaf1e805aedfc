"""LD's second region against a slow computation, anchor by anchor."""

from math import hypot
from statistics import mean, stdev

import pytest
import torch

from mmkd.tasks.valuable_region import valuable_region


def area(box):
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def iou(a, b):
    shared = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
    return shared / (area(a) + area(b) - shared)


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def apart(a, b):
    (x, y), (u, v) = centre(a), centre(b)
    return hypot(x - u, y - v)


def distance_iou(a, b):
    around = hypot(max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1]))
    return iou(a, b) - apart(a, b) ** 2 / around**2


def slowly(levels, valid, boxes, nearest):
    weights = [[0.0] * len(level) for level in levels]
    for box in boxes:
        candidates = []
        for level, use in zip(levels, valid):
            counted = [anchor for anchor, one in zip(level, use) if one]
            candidates += sorted(counted, key=lambda anchor: apart(anchor, box))[:nearest]
        overlaps = [iou(anchor, box) for anchor in candidates]
        threshold = mean(overlaps) + stdev(overlaps)
        for row, level, use in zip(weights, levels, valid):
            for i, (anchor, one) in enumerate(zip(level, use)):
                if one and 0.25 * threshold <= distance_iou(anchor, box) < threshold:
                    row[i] = max(row[i], iou(anchor, box))
    return weights


def grid(stride, rows, columns):
    size = 4 * stride
    return [
        [
            (x + 0.5) * stride - size / 2,
            (y + 0.5) * stride - size / 2,
            (x + 0.5) * stride + size / 2,
            (y + 0.5) * stride + size / 2,
        ]
        for y in range(rows)
        for x in range(columns)
    ]


LEVELS = [grid(8, 9, 13), grid(16, 5, 7), grid(64, 1, 2)]  # of the last fewer anchors than are asked for
BOXES = [[11.0, 7, 43, 52], [30, 20, 61.5, 47], [60, 10, 100, 71]]


@pytest.mark.parametrize('nearest', [3, 9])
@pytest.mark.parametrize('all_count', [True, False])
def test_against_loops(nearest, all_count):
    levels = [torch.tensor(level) for level in LEVELS]
    valid = [torch.ones(len(level), dtype=torch.bool) for level in levels]
    if not all_count:  # padding
        valid = [level[:, 0] < 60 for level in levels]
    found = valuable_region(levels, valid, torch.tensor(BOXES), nearest)
    wanted = slowly(LEVELS, [level.tolist() for level in valid], BOXES, nearest)
    for ours, slow in zip(found, wanted):
        torch.testing.assert_close(ours, torch.tensor(slow), rtol=1e-4, atol=1e-5)
    assert sum((level > 0).sum().item() for level in found) > 10


def test_without_boxes_or_places_nothing_is_valuable():
    levels = [torch.tensor(level) for level in LEVELS]
    for boxes, counts in ((torch.zeros(0, 4), 1), (torch.tensor(BOXES), 0)):
        valid = [torch.full((len(level),), counts, dtype=torch.bool) for level in levels]
        assert not torch.cat(valuable_region(levels, valid, boxes, 9)).any()
