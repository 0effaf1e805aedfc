"""Mixed precision on the CPU: mmengine's AmpOptimWrapper, with a gradient scaler there, and mmkd's own without."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper

from mmkd.errors import UserError
from tests.distil import HEADS, distil, plain, teacher  # noqa: F401  (fixtures)

AMP = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9), dtype='bfloat16')
OWN = dict(type='mmkd.CPUAmpOptimWrapper', optimizer=AMP['optimizer'])
SCALED = {**AMP, 'loss_scale': dict(init_scale=1024.0, growth_interval=3)}
SHORT = {'train_cfg.max_epochs': 2, 'param_scheduler': None}
STAGES = dict(stages=['layer1', 'head'], score_teacher=False)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))


def scale_of(runner) -> dict | None:
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return scaler and scaler.state_dict()


class Watch(Hook):
    """Each iteration's loss, scale and changed parameters."""

    priority = 'LOWEST'

    def __init__(self):
        self.iterations = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
        self.scaler = scale_of(runner)
        self.reached = set()
        self.handles = [
            p.register_post_accumulate_grad_hook(lambda _, name=name: self.reached.add(name))
            for name, p in runner.model.named_parameters()
            if p.requires_grad
        ]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for handle in self.handles:
            handle.remove()
        trained = {name for name, p in runner.model.named_parameters() if p.requires_grad}
        changed = {name for name, p in runner.model.named_parameters() if not torch.equal(p, self.before[name])}
        self.iterations.append(
            dict(
                stages=runner.model.current,
                losses={name: value for name, value in outputs.items() if 'loss' in name},
                trained=trained,
                changed=changed,
                reached=self.reached,
                before=self.scaler,
                after=scale_of(runner),
            )
        )


def watched(runner) -> list[dict]:
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return watch.iterations


@pytest.mark.parametrize('wrapper', [AMP, OWN], ids=['mmengine', 'own'])
@pytest.mark.parametrize(
    ('model', 'hook'),
    [
        (dict(), STAGES),
        (dict(type='mmkd.MHKD', heads=HEADS), dict(score_teacher=False)),
        (dict(type='mmkd.MHKD', heads=HEADS), dict(stages=['teacher_heads', 'all'], score_teacher=False)),
        (dict(type='mmkd.KD'), dict(score_teacher=False)),
    ],
)
def test_both_networks_in_half_the_bits_and_the_losses_in_all(distil, model, hook, wrapper):  # noqa: F811
    runner = distil(model=model, hook=hook, optim_wrapper=wrapper, **SHORT)
    seen = {'student': set(), 'teacher': set()}
    networks = dict(student=runner.model.student, teacher=runner.model.teacher.network)
    for name, network in networks.items():
        convolution = network.backbone.layer1[0].conv1
        convolution.register_forward_hook(
            lambda module, inputs, output, name=name: seen[name].add((output.dtype, torch.is_autocast_enabled('cpu')))
        )
    iterations = watched(runner)
    half = (torch.bfloat16, True)
    assert half in seen['student']
    assert half in seen['teacher']
    for now in iterations:
        assert {loss.dtype for loss in now['losses'].values()} == {torch.float32}
        assert all(torch.isfinite(loss) for loss in now['losses'].values())
        assert now['reached'] == now['trained'] >= now['changed'] != set()
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


def test_the_scale_goes_over_a_boundary_and_into_the_checkpoint(distil, tmp_path):  # noqa: F811
    iterations = watched(distil(hook=STAGES, optim_wrapper=SCALED, **SHORT))
    assert [now['stages'] for now in iterations] == [('layer1',)] * 4 + [('head',)] * 4
    for earlier, later in pairwise(iterations):
        assert later['before'] == earlier['after']
    assert iterations[4]['before']['scale'] == 2048.0
    assert iterations[4]['before']['_growth_tracker'] == 1
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['optimizer']['loss_scaler']
    assert saved == iterations[4]['before']

    resumed = distil(
        'resumed', STAGES, optim_wrapper=SCALED, resume=True, load_from=str(tmp_path / 'run' / 'epoch_1.pth'), **SHORT
    )
    again = watched(resumed)
    assert [now['after'] for now in again] == [now['after'] for now in iterations[4:]]


def overflowing(monkeypatch, runner, when) -> None:
    """Makes the loss infinite in these iterations."""
    loss = runner.model.loss

    def overflow(*args, **kwargs):
        factor = float('inf') if runner.iter in when else 1.0
        return {name: value * factor for name, value in loss(*args, **kwargs).items()}

    monkeypatch.setattr(runner.model, 'loss', overflow)


def test_an_overflow_is_skipped_also_at_a_boundary(distil, monkeypatch):  # noqa: F811
    runner = distil(hook=STAGES, optim_wrapper=SCALED, **SHORT)
    overflowing(monkeypatch, runner, when=(1, 3, 4))  # the last iteration of a stage and the first of the next
    iterations = watched(runner)
    assert len(iterations) == 8
    for index, now in enumerate(iterations):
        if index in (1, 3, 4):
            assert not now['changed']
            assert now['after']['scale'] == now['before']['scale'] / 2
        else:
            assert now['changed']
    assert iterations[4]['before']['scale'] == iterations[3]['after']['scale']
    assert all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


def test_overflows_without_end_are_told(distil, monkeypatch, tmp_path):  # noqa: F811
    runner = distil(hook=STAGES, optim_wrapper=SCALED, **SHORT)
    overflowing(monkeypatch, runner, when=range(2, 8))
    (schedule,) = (hook for hook in runner.hooks if type(hook).__name__ == 'StageScheduleHook')
    schedule.guard.patience = 5
    with pytest.raises(UserError, match=r'since iteration 3 \(noticed at 7\).* --amp-dtype bfloat16'):
        watched(runner)


def test_without_a_scaler_the_first_bad_loss_is_too_many(distil, monkeypatch, tmp_path):  # noqa: F811
    runner = distil(hook=STAGES, **SHORT)
    overflowing(monkeypatch, runner, when=(1,))
    with pytest.raises(UserError, match='since iteration 2'):
        runner.train()
    assert not list((tmp_path / 'run').glob('*.pth'))
