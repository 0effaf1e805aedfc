"""Batches padded further, and features cut back."""

from itertools import product

import pytest
import torch
from torch import nn

from mmkd.features.padding import Padded


def stack(depth: int) -> nn.Module:
    """Each layer halves the sides and rounds up, as common backbones do."""
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False) for _ in range(depth)])


@pytest.mark.parametrize(('divisor', 'padded'), [(1, (37, 50)), (2, (38, 50)), (16, (48, 64)), (32, (64, 64))])
def test_padded_below_and_on_the_right(divisor, padded):
    inputs = torch.randn(2, 3, 37, 50)
    result = Padded.to_multiples(inputs, divisor, value=7)
    assert result.inputs.shape == (2, 3, *padded)
    assert torch.equal(result.inputs[:, :, :37, :50], inputs)
    assert (result.inputs[:, :, 37:] == 7).all()
    assert (result.inputs[:, :, :, 50:] == 7).all()


def test_what_needs_no_padding_stays_the_very_same():
    inputs, feature = torch.randn(2, 3, 32, 64), (torch.randn(2, 3, 8, 16),)
    result = Padded.to_multiples(inputs, 16, value=7)
    assert result.inputs is inputs
    assert result.cut(feature) is feature


def test_cut_to_the_size_of_features_without_padding():
    for height, width in product(range(1, 70, 3), range(1, 40, 7)):
        inputs = torch.randn(1, 3, height, width)
        padded = Padded.to_multiples(inputs, 32)
        for depth in (1, 3, 5):
            network = stack(depth)
            plain, grown = network(inputs), network(padded.inputs)
            (cut,) = padded.cut((grown,))
            assert cut.shape == plain.shape
            if depth == 1:  # the image is surrounded by zeros, as without padding
                torch.testing.assert_close(cut, plain)


def test_every_level_of_a_pyramid_is_cut():
    padded = Padded.to_multiples(torch.randn(1, 3, 40, 64), 32)
    levels = tuple(torch.randn(1, 5, 64 // stride, 64 // stride) for stride in (8, 16, 32))
    cut = padded.cut(levels)
    assert [tuple(level.shape[2:]) for level in cut] == [(5, 8), (3, 4), (2, 2)]
    for level, whole in zip(cut, levels):
        assert torch.equal(level, whole[:, :, : level.shape[2], : level.shape[3]])
