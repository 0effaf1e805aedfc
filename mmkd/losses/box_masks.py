"""Which cells of a map lie in boxes."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def masks(boxes: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of the cells in objects and in the background, both (N, 1, H, W).

    A box covers all cells that it touches, and the one after them; each cell weighs 1 / their number, in several boxes
    as much as in the smallest. The background's cells weigh 1 / their number.
    """
    height, width = like.shape[2:]
    rows, columns = (torch.arange(side, device=like.device) for side in (height, width))
    weights = []
    for image, size in zip(boxes, image_sizes, strict=True):
        within, lengths = [], []
        for axis, (line, scale) in enumerate(((columns, width / size[1]), (rows, height / size[0]))):
            first, last = (image[:, axis, None] * scale).floor(), (image[:, axis + 2, None] * scale).ceil()
            within.append((line >= first) & (line <= last))
            lengths.append(last - first + 1)
        inside = within[1][:, :, None] & within[0][:, None]
        weight = inside / (lengths[0] * lengths[1])[:, :, None]
        weights.append(torch.cat([weight.new_zeros(1, height, width), weight]).amax(0))
    objects = torch.stack(weights)[:, None].to(like)
    background = (objects == 0).to(like)
    return objects, background / background.sum((1, 2, 3), keepdim=True).clamp(min=1)
