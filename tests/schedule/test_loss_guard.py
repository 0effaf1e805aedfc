import pytest
import torch

from mmkd.errors import UserError
from mmkd.schedule.loss_guard import LossGuard, is_scaled
from tests.pretended import pretend_cuda


def watch(guard, losses, start=0, scaled=False):
    for iteration, loss in enumerate(losses, start):
        guard.see(torch.tensor(loss, requires_grad=True), 'layer1', iteration, scaled)


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_names_stage_and_first_bad_iteration(bad):
    guard = LossGuard(interval=5)
    watch(guard, [1.0] * 7 + [bad, 1.0])
    with pytest.raises(UserError, match=r'stage layer1 is NaN or infinite since iteration 8 \(noticed at 10\)'):
        watch(guard, [bad], start=9)


def test_speaks_of_no_last_checkpoint():
    """There may be none: the first loss can be bad."""
    guard = LossGuard(interval=2)
    with pytest.raises(UserError, match=r'since iteration 1 \(noticed at 2\); no saved checkpoint is affected\. Lower'):
        watch(guard, [float('nan')] * 2)


def test_looks_only_now_and_then():
    guard = LossGuard(interval=3)
    watch(guard, [float('nan')] * 2)
    with pytest.raises(UserError):
        watch(guard, [1.0], start=2)


def test_can_be_asked_in_between():
    guard = LossGuard(interval=100)
    guard.check('layer1')  # no bad loss seen
    watch(guard, [1.0, 2.0])
    guard.check('layer1')
    watch(guard, [1.0, float('nan')], start=2)
    for _ in range(2):  # it keeps failing: no checkpoint may be written any more
        with pytest.raises(UserError, match=r'since iteration 4 \('):
            guard.check('layer1')


def test_finite_losses_pass():
    guard = LossGuard(interval=2)
    watch(guard, [3.4e38, -1.0, 0.0, 1e-45] * 3)
    guard.check('layer1')


def test_keeps_no_graph_and_asks_the_device_for_nothing():
    loss = torch.ones((), device='meta', requires_grad=True)  # fails when its value is read
    guard = LossGuard(interval=10)
    for iteration in range(9):
        guard.see(loss * 2, 'layer1', iteration)
    assert not any(loss.requires_grad for loss in guard.losses)
    with pytest.raises(RuntimeError, match='meta'):
        guard.see(loss, 'layer1', 9)


def test_the_device_is_asked_once_a_look():
    guard = LossGuard(interval=10)
    with pretend_cuda() as gpu:
        loss = torch.ones((), device='cuda')
        gpu.reset()
        for iteration in range(9):
            guard.see(loss, 'layer1', iteration)
        assert not gpu.launches
        guard.see(loss, 'layer1', 9)
        assert gpu.waits.total() == 1
        guard.check('layer1')  # nothing new
        assert gpu.waits.total() == 1


BAD, GOOD = float('nan'), 1.0


@pytest.mark.parametrize('interval', [2, 5, 100])
def test_what_a_scaler_skips_does_not_stop_the_run(interval):
    """However often somebody asks, so many bad losses in a row do."""
    guard = LossGuard(interval, patience=3)
    watch(guard, [BAD, BAD, GOOD, BAD, GOOD, BAD, BAD, GOOD, BAD, BAD], scaled=True)
    guard.check('layer1')
    guard.see(torch.tensor(BAD), 'layer1', 10, scaled=True)
    with pytest.raises(UserError, match=r'since iteration 9 \(noticed at 11\).* or train with --amp-dtype bfloat16'):
        guard.check('layer1')


def test_an_idle_scaler_skips_nothing():
    class Wrapper:
        pass

    assert not is_scaled(Wrapper())
    for scaler in (torch.amp.GradScaler('cpu'), torch.amp.GradScaler('cpu', enabled=False)):
        wrapper = Wrapper()
        wrapper.loss_scaler = scaler
        assert is_scaled(wrapper) == scaler.is_enabled()


def test_what_a_scaler_does_not_protect_is_not_saved():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    guard = LossGuard(interval=3)
    watch(guard, [BAD, GOOD], scaled=True)
    guard.check('layer1', network)
    network[0].running_var[1] = float('inf')
    with pytest.raises(UserError, match=r'0\.running_var, a statistic .* in stage layer1.* --amp-dtype bfloat16'):
        guard.check('layer1', network)
