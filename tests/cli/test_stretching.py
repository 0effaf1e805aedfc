"""Learning rate policies over another number of epochs."""

import pytest
import torch
from mmengine.optim.scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, PolyLR, StepLR
from torch import nn

from mmkd.cli.stretching import stretch
from mmkd.errors import UserError

SCHEDULERS = {kind.__name__: kind for kind in (CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, PolyLR, StepLR)}


def rates(schedulers: list[dict], epochs: int) -> list[float]:
    """The learning rate in each epoch, and after the last."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    built = []
    for scheduler in schedulers:
        options = dict(scheduler)
        built.append(SCHEDULERS[options.pop('type')](optimizer, **options))
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return [*found, optimizer.param_groups[0]['lr']]


@pytest.mark.parametrize(
    ('policy', 'error'),
    [
        ([dict(type='MultiStepLR', milestones=[10, 15, 19], gamma=0.3)], 0),
        ([dict(type='StepLR', step_size=5, gamma=0.5, by_epoch=True)], 0),
        ([dict(type='ExponentialLR', gamma=0.81)], 0),
        ([dict(type='CosineAnnealingLR', T_max=20)], 0),
        ([dict(type='PolyLR', power=2.0, eta_min=0.001, begin=0, end=20)], 2e-3),  # it ends in the last epoch
        (
            [
                dict(type='LinearLR', start_factor=0.01, begin=0, end=5),
                dict(type='CosineAnnealingLR', T_max=15, eta_min=1e-3, begin=5, end=20),
            ],
            2e-2,
        ),
    ],
)
def test_three_times_as_long_is_the_same_policy(policy, error):
    """In every third epoch the learning rate is that of the plain run."""
    plain, long = rates(policy, 20), rates(stretch(policy, 20, 60), 60)
    assert long[::3] == pytest.approx(plain, rel=1e-6, abs=error)
    assert max(plain) == pytest.approx(max(long))


def test_what_counts_is_stretched_and_the_rest_stays():
    policy = [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', T_max=195, begin=5, end=200, eta_min=1e-5),
        dict(type='CosineAnnealingLR', T_max=170, begin=30, end=200),
        dict(type='CosineAnnealingLR', T_max=50, begin=100, by_epoch=True),
        dict(type='MultiStepMomentum', milestones=(100, 150), gamma=0.1),
        dict(type='CosineRestartLR', periods=[20, 180], restart_weights=[1, 0.5]),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=200, end=10**9),
    ]
    assert stretch(policy, 200, 30) == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=75),
        dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', T_max=29, begin=1, end=30, eta_min=1e-5),
        dict(type='CosineAnnealingLR', T_max=25, begin=5, end=30),  # 26 if rounded apart
        dict(type='CosineAnnealingLR', T_max=8, begin=15, by_epoch=True),
        dict(type='MultiStepMomentum', milestones=[15, 23], gamma=0.1),
        dict(type='CosineRestartLR', periods=[3, 27], restart_weights=[1, 0.5]),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=30, end=10**9),
    ]


def test_one_or_none():
    assert stretch(dict(type='StepLR', step_size=4), 8, 12) == [dict(type='StepLR', step_size=6)]
    assert stretch(None, 8, 12) == stretch([], 8, 12) == []


@pytest.mark.parametrize(
    ('policy', 'wanted', 'message'),
    [
        (dict(type='MultiStepLR', milestones=[8, 11]), 3, 'param_scheduler.milestones, [8, 11] of 12 epochs, would be'),
        (dict(type='MultiStepLR', milestones=[8, 9]), 4, 'param_scheduler.milestones, [8, 9] of 12 epochs, would be ['),
        ([dict(type='LinearLR', end=2)], 2, 'param_scheduler.0.end, 2 epochs of a training of 12 epochs, would be'),
        ([dict(type='LinearLR', begin=4, end=5)], 3, 'param_scheduler.0, 1 epochs of a training of 12 epochs, would'),
        ([dict(type='ReduceOnPlateauLR')], 24, 'param_scheduler.0, a ReduceOnPlateauLR, is none of the policies that'),
        (dict(policy=[dict(type='StepLR', step_size=3)]), 24, 'param_scheduler, a None, is none of the policies that'),
    ],
)
def test_refused(policy, wanted, message):
    with pytest.raises(UserError) as error:
        stretch(policy, 12, wanted)
    assert str(error.value).startswith(f"--epochs: the student's {message}")
    assert f' in {wanted} epochs; choose another number, or leave --epochs out' in str(error.value)
