import numpy as np
import pytest
import torch

from mmkd.features.explained_variance import explained_variance, variance_parts


def r_squared(own, target):
    """Compute it for maps with numpy."""
    rows = [x.double().numpy().transpose(0, 2, 3, 1).reshape(-1, x.shape[1]) for x in (own, target)]
    return 1 - ((rows[0] - rows[1]) ** 2).sum() / ((rows[1] - rows[1].mean(0)) ** 2).sum()


def test_uneven_batches_weigh_by_their_images():
    target = torch.randn(7, 3, 4, 5) * torch.tensor([1.0, 4.0, 0.3]).view(3, 1, 1) + 2
    own = target + torch.randn(7, 3, 4, 5)
    parts = [variance_parts((own[a:b],), (target[a:b],)) for a, b in ((0, 5), (5, 7))]
    together = (5 * parts[0] + 2 * parts[1]) / 7
    assert explained_variance(together) == pytest.approx(r_squared(own, target))


def test_the_means_of_the_channels_explain_nothing_and_the_target_all():
    target = torch.randn(3, 2, 4, 4) + 5
    mean = target.mean((0, 2, 3), keepdim=True).expand_as(target)
    assert explained_variance(variance_parts((mean,), (target,))) == pytest.approx(0, abs=1e-6)
    assert explained_variance(variance_parts((target,), (target,))) == 1


def test_levels_of_a_pyramid_add_up_and_tokens_count_by_position():
    fine, coarse = torch.randn(2, 3, 4, 4), 2 * torch.randn(2, 3, 2, 2)
    own = fine + 0.5, coarse - 1.0
    error = 3 * 0.25 + 3 * 1.0
    variance = sum(float(x.double().var((0, 2, 3), correction=0).sum()) for x in (fine, coarse))
    assert explained_variance(variance_parts(own, (fine, coarse))) == pytest.approx(1 - error / variance)
    tokens = [x.flatten(2).transpose(1, 2) for x in (own[0], fine)]
    flat = explained_variance(variance_parts((tokens[0],), (tokens[1],)))
    assert flat == pytest.approx(explained_variance(variance_parts((own[0],), (fine,))))


def test_a_channel_that_never_varies_is_no_division_by_zero():
    assert np.isfinite(explained_variance(variance_parts((torch.ones(2, 1, 3, 3),), (torch.zeros(2, 1, 3, 3),))))
