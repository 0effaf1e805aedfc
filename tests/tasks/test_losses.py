"""Sums and weights of the losses that a toolbox's network returns."""

import pytest
import torch

from mmkd.tasks.base import total, weighted

LOSSES = {
    'loss_cls': [torch.tensor(1.0), torch.tensor([2.0, 6.0])],  # one per level
    'loss_bbox': torch.tensor([3.0, 5.0]),
    'acc': torch.tensor(50.0),
}


def test_all_levels_count_as_mmengine_counts_them():
    from mmengine.model import BaseModel

    assert total(LOSSES).item() == 1 + 4 + 4
    assert total(LOSSES) == BaseModel.parse_losses(None, LOSSES)[0]


def test_a_weight_is_that_of_every_level_and_of_nothing_else():
    half = weighted(LOSSES, 0.5)
    assert total(half).item() == pytest.approx(4.5)
    assert half['acc'] == 50
    assert half.keys() == LOSSES.keys()
