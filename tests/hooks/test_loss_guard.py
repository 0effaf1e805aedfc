import pytest
import torch

from mmkd.errors import UserError
from mmkd.hooks.loss_guard import LossGuard


def watch(guard, losses, start=0):
    for iteration, loss in enumerate(losses, start):
        guard.see(torch.tensor(loss, requires_grad=True), 'layer1', iteration)


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_names_stage_and_first_bad_iteration(bad):
    guard = LossGuard(interval=5)
    watch(guard, [1.0] * 7 + [bad, 1.0])
    with pytest.raises(UserError, match=r'stage layer1 is NaN or infinite since iteration 8 \(noticed at 10\)'):
        watch(guard, [bad], start=9)


def test_looks_only_now_and_then():
    guard = LossGuard(interval=3)
    watch(guard, [float('nan')] * 2)
    with pytest.raises(UserError):
        watch(guard, [1.0], start=2)


def test_can_be_asked_in_between():
    guard = LossGuard(interval=100)
    guard.check('layer1', 0)  # nothing seen
    watch(guard, [1.0, 2.0])
    guard.check('layer1', 1)
    watch(guard, [1.0, float('nan')], start=2)
    for _ in range(2):  # and goes on refusing: no checkpoint may be written after it
        with pytest.raises(UserError, match=r'since iteration 4 \('):
            guard.check('layer1', 3)


def test_finite_losses_pass():
    guard = LossGuard(interval=2)
    watch(guard, [3.4e38, -1.0, 0.0, 1e-45] * 3)
    guard.check('layer1', 11)


def test_keeps_no_graph_and_asks_the_device_for_nothing():
    loss = torch.ones((), device='meta', requires_grad=True)  # whoever reads its value fails
    guard = LossGuard(interval=10)
    for iteration in range(9):
        guard.see(loss * 2, 'layer1', iteration)
    assert not guard.good.requires_grad
    with pytest.raises(RuntimeError, match='meta'):
        guard.see(loss, 'layer1', 9)
