"""Losses with trainable parameters."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmkd.errors import UserError
from tests.distil import HEADS
from tests.distillers.test_sskd_training import bytes_of


class Weighted(nn.Module):
    """Learns a factor for the student's feature, and counts its batches."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.rand(()))
        self.register_buffer('batches', torch.zeros(()))

    def forward(self, student, teacher):
        if self.training:
            self.batches += 1
        pairs = zip(*[x if isinstance(x, tuple) else (x,) for x in (student, teacher)])
        return sum((self.share * one - two).square().mean() for one, two in pairs)


@pytest.fixture(autouse=True)
def registered():
    MODELS.register_module(module=Weighted, name='WeightedLoss')
    yield
    MODELS.module_dict.pop('WeightedLoss')


WEIGHTED = dict(type='WeightedLoss')
SINGLE = dict(stages=['layer1', 'layer3', 'head'], lengths=[2, 2, 4], score_teacher=False)
CASES = {
    'SSKD': (SINGLE, dict(mimic_loss=WEIGHTED), {'layer1_loss': 8, 'layer3_loss': 8}),
    'a stage of SSKD': (
        SINGLE,
        dict(stage_losses=dict(layer3=WEIGHTED)),
        {'layer3_loss': 8},
    ),
    'KD': (dict(score_teacher=False), dict(type='mmkd.KD', soft_loss=WEIGHTED), {'soft_loss': 32}),
    'MHKD': (
        dict(stages=['layer1', 'all'], lengths=[2, 6], score_teacher=False),
        dict(type='mmkd.MHKD', heads=HEADS, soft_loss=WEIGHTED, mimic_loss=WEIGHTED, attach=['layer1', 'layer2']),
        {'layer1_loss': 8, 'soft_loss': 24, 'head_soft_loss': 48},
    ),
}


@pytest.mark.parametrize(('hook', 'model', 'losses'), CASES.values(), ids=CASES)
def test_they_learn_when_they_are_computed_and_travel_with_the_extras(distil, plain, tmp_path, hook, model, losses):
    runner = distil(hook=hook, model=model)
    shares = {}
    runner.train()
    distiller = runner.model
    learned = {name: module for name, module in distiller.extras.named_modules() if isinstance(module, Weighted)}
    assert {name: int(module.batches) for name, module in learned.items()} == losses
    saved = {epoch: torch.load(tmp_path / 'run' / f'epoch_{epoch}.pth', weights_only=False) for epoch in (1, 2, 8)}
    for epoch, checkpoint in saved.items():
        assert not any('share' in name or 'batches' in name.split('.') for name in checkpoint['state_dict'])
        shares[epoch] = {name: float(checkpoint['mmkd']['extras'][f'{name}.share']) for name in losses}
    for name in losses:
        first, second, last = (shares[epoch][name] for epoch in (1, 2, 8))
        assert (first != second) == (
            'layer3' not in name and (name.startswith('layer') or type(distiller).__name__ == 'KD')
        )
        assert (second != last) == ('layer1' not in name)

    path = str(tmp_path / 'run' / 'epoch_1.pth')
    resumed = distil('resumed', hook, model, resume=True, load_from=path)
    resumed.train()
    for network in ('student', 'extras'):
        assert bytes_of(getattr(resumed.model, network)) == bytes_of(getattr(distiller, network))


def test_they_are_in_the_group_of_the_extras_and_move_along(distil):
    runner = distil(hook=SINGLE, model=dict(mimic_loss=WEIGHTED))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedule = next(hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    schedule.before_run(runner)
    schedule._enter(runner, 0)
    share = runner.model.mimicking.loss_of('layer1').share
    assert share.requires_grad
    assert not runner.model.mimicking.loss_of('layer3').share.requires_grad
    assert any(share is parameter for parameter in runner.optim_wrapper.param_groups[-1]['params'])
    assert not runner.model.mimicking.loss_of('layer3').training
    runner.model.to('meta')
    assert {loss.share.device.type for loss in runner.model.extras.modules() if isinstance(loss, Weighted)} == {'meta'}


@pytest.mark.parametrize('method', ['KD', 'MHKD'])
def test_what_they_draw_at_their_start_changes_no_other_number(distil, method):
    states = []
    for loss in (WEIGHTED, dict(type='mmkd.SoftTargetLoss')):
        torch.manual_seed(3)
        runner = distil(f'{len(states)}', dict(score_teacher=False), dict(type=f'mmkd.{method}', soft_loss=loss))
        runner.model.init_weights()
        states.append(bytes_of(runner.model.student))
    assert states[0] == states[1]


LOSS = dict(type='mmkd.FeatureMimicLoss', kind='l1')


@pytest.mark.parametrize(
    ('stages', 'model', 'key'),
    [
        (['all'], dict(mimic_loss=LOSS), 'mimic_loss'),
        (['head'], dict(stage_losses=dict(layer2=LOSS)), r'stage_losses\.layer2'),
        (['layer1', 'head'], dict(stage_losses=dict(layer1=LOSS, layer2=LOSS)), r'stage_losses\.layer2'),
        (['layer1', 'head'], dict(mimic_loss=LOSS, stage_losses=dict(layer1=LOSS)), 'mimic_loss'),
        (None, dict(type='mmkd.MHKD', mimic_loss=LOSS), 'mimic_loss'),
    ],
)
def test_one_that_the_schedule_never_computes_is_refused(distil, stages, model, key):
    runner = distil(hook=dict(stages=stages, score_teacher=False), model=model)
    with pytest.raises(UserError, match=rf'^model\.{key}: no phase of the schedule computes it.* leave it out'):
        runner.train()
    assert runner.iter == 0
