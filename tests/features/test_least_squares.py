import numpy as np
import pytest
import torch

from mmkd.features.least_squares import LeastSquares


def related(rows, seed, noise=0.0):
    """Rows of 3 numbers whose means are not 0, and rows of 5 numbers that are a linear map of them."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(rows, 3, generator=generator) * torch.tensor([1.0, 3.0, 0.2]) + torch.tensor([2.0, -1.0, 5.0])
    matrix = torch.arange(15.0).view(3, 5) / 7 - 1
    return own, own @ matrix + torch.arange(5.0) + noise * torch.randn(rows, 5, generator=generator)


def test_an_exact_map_is_found():
    own, target = related(50, seed=0)
    fit = LeastSquares(3, 5)
    fit.observe(own, target)
    torch.testing.assert_close(fit(own), target, atol=1e-2, rtol=1e-2)


def test_one_batch_is_numpys_least_squares():
    own, target = related(400, seed=0, noise=2.0)
    fit = LeastSquares(3, 5)
    fit.observe(own, target)
    solution = np.linalg.lstsq(np.c_[own.numpy(), np.ones(400)], target.numpy(), rcond=None)[0]
    torch.testing.assert_close(fit.weight, torch.from_numpy(solution[:3].T).float(), atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(fit.bias, torch.from_numpy(solution[3]).float(), atol=5e-2, rtol=5e-3)


def test_batches_of_other_sizes_count_alike_and_old_ones_fade():
    fit = LeastSquares(3, 5)
    old = related(30, seed=1)
    fit.observe(old[0], -old[1])
    for seed in range(2, 150):
        fit.observe(*related(20 + seed, seed))
    own, target = related(50, seed=0)
    torch.testing.assert_close(fit(own), target, atol=0.3, rtol=0.05)


def test_channels_that_are_0_or_alike_get_no_large_weights():
    own, target = related(100, seed=0, noise=1.0)
    own[:, 1], own[:, 2] = 0, own[:, 0]
    fit = LeastSquares(3, 5)
    fit.observe(own, target)
    assert fit.weight.abs().max() < 10
    assert torch.isfinite(fit(own)).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_map_is_its_positions(dtype):
    own, target = related(2 * 4 * 6, seed=0)
    fit = LeastSquares(3, 5)
    fit.observe(own.to(dtype), target.to(dtype))
    positions = fit(own).view(2, 4, 6, 5)
    torch.testing.assert_close(fit(own.view(2, 4, 6, 3).movedim(-1, 1)), positions.movedim(-1, 1))


def test_the_gradient_is_that_of_a_fixed_map():
    own, target = related(50, seed=0, noise=1.0)
    own.requires_grad_()
    fit = LeastSquares(3, 5)
    fit.observe(own, target)
    (fit(own) - target).square().sum().backward()
    torch.testing.assert_close(own.grad, 2 * (fit(own) - target).detach() @ fit.weight)
    assert not list(fit.parameters())
