import numpy as np
import pytest
import torch
from mmcv.ops import sigmoid_focal_loss

GAMMA, ALPHA = 2.0, 0.25


def reference(logits: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Compute the loss by its definition, element by element."""
    losses = np.zeros_like(logits)
    for n, row in enumerate(logits):
        for c, logit in enumerate(row):
            p = 1 / (1 + np.exp(-logit))
            losses[n, c] = (
                -ALPHA * (1 - p) ** GAMMA * np.log(p) if target[n] == c else -(1 - ALPHA) * p**GAMMA * np.log(1 - p)
            )
        if weight is not None:
            losses[n] *= weight[target[n]]
    return losses


@pytest.mark.parametrize('weighted', [False, True])
def test_against_the_definition(weighted):
    rng = np.random.RandomState(0)
    logits = rng.randn(7, 3).astype(np.float64)
    target = np.array([0, 1, 2, 2, 0, 1, 0] if weighted else [0, 1, 2, 3, 3, 1, 0])  # class 3 is the background
    weight = np.array([1.0, 2.0, 0.5]) if weighted else None
    loss = sigmoid_focal_loss(
        torch.from_numpy(logits).float(),
        torch.from_numpy(target),
        GAMMA,
        ALPHA,
        torch.from_numpy(weight).float() if weighted else None,
        'none',
    )
    np.testing.assert_allclose(loss.numpy(), reference(logits, target, weight), rtol=1e-5)


def test_gradient_by_finite_differences():
    rng = np.random.RandomState(1)
    logits, target, step = rng.randn(5, 3), np.array([0, 3, 2, 1, 3]), 1e-6
    expected = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        nudge = np.zeros_like(logits)
        nudge[place] = step
        expected[place] = (
            reference(logits + nudge, target, None).sum() - reference(logits - nudge, target, None).sum()
        ) / (2 * step)
    tensor = torch.from_numpy(logits).float().requires_grad_()
    sigmoid_focal_loss(tensor, torch.from_numpy(target), GAMMA, ALPHA, None, 'sum').backward()
    np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1]), GAMMA, ALPHA, None, 'sum')
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
