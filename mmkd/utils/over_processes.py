"""The variance over the batches of all processes."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def variance(rows: Tensor) -> Tensor:
    """The variance of each row in one process."""
    return rows.var(1, correction=0)


def shared_variance(rows: Tensor) -> Tensor:
    """The variance of each row over all processes, which must all call this equally often."""
    if get_world_size() == 1:
        return variance(rows)
    sums = torch.cat([rows.sum(1), rows.new_full((1,), rows.shape[1])])
    all_reduce(sums)
    squares = (rows - (sums[:-1] / sums[-1])[:, None]).square().sum(1)
    all_reduce(squares)
    return squares / sums[-1]
