"""Compiled trainings compute the same as plain ones."""

import pytest
import torch
from mmengine.hooks import Hook

from mmkd.acceleration import options as speed


class Losses(Hook):
    """Every loss, the stages that learned and the parts that ran compiled."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append((runner.model.current, outputs['loss'].item()))


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def train(runner) -> list:
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.seen


def same(own: dict, other: dict) -> bool:
    return list(own) == list(other) and all(torch.equal(own[name], other[name]) for name in own)


COMPILE = dict(compile=dict(backend='aot_eager'))


def test_a_training_is_the_same_to_the_last_bit_also_when_it_is_resumed(distil, monkeypatch):
    """Cover stages, their boundaries, validation with averaged weights, and smaller last batches."""
    changes = {
        'custom_hooks': [dict(type='EMAHook', momentum=0.5)],
        'train_dataloader.batch_size': 24,
        'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, save_optimizer=True),
    }
    ran = []
    call = speed._CompiledPart.__call__
    monkeypatch.setattr(
        speed._CompiledPart, '__call__', lambda self, *args: (ran.append((now(), self.key)), call(self, *args))[1]
    )
    plain = distil('plain', hook=dict(keep_best=True), **changes)
    expected = train(plain)
    assert not ran
    runner = distil('compiled', hook=dict(keep_best=True), model=COMPILE, **changes)

    def now() -> tuple:
        return runner.model.current if runner.model.training else ()

    assert train(runner) == expected
    assert same(runner.model.student.state_dict(), plain.model.student.state_dict())
    for stage in ('layer1', 'layer2'):
        keys = {key.rpartition('.')[2] for current, key in ran if current == (stage,)}
        assert keys == {f'layer{i}' for i in range(1, int(stage[-1]) + 1)}
    checkpoint = torch.load(f'{runner.work_dir}/epoch_8.pth', weights_only=False)['state_dict']
    assert list(checkpoint) == list(plain.model.student.state_dict())

    resumed = distil('resumed', hook=dict(keep_best=True), model=COMPILE, **changes)
    resumed._load_from, resumed._resume = f'{runner.work_dir}/epoch_3.pth', True
    runner = resumed
    assert train(resumed) == expected[-len(expected) * 5 // 8 :]
    assert same(resumed.model.student.state_dict(), plain.model.student.state_dict())


@pytest.mark.parametrize(('model', 'marks'), [({}, 0), (COMPILE, 1)])
def test_each_iteration_says_that_it_begins(distil, monkeypatch, model, marks):
    """Graphs of mode='reduce-overhead' otherwise keep, or overwrite, what the iteration before has put out."""
    told, per_iteration = [], []
    monkeypatch.setattr(torch.compiler, 'cudagraph_mark_step_begin', lambda: told.append(1))
    runner = distil(model=model, **{'train_cfg.max_epochs': 2}, hook=dict(stages=['layer4', 'head']))

    class Count(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            told.clear()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            per_iteration.append(len(told))

    runner.register_hook(Count())
    runner.train()
    assert set(per_iteration) == {marks}


@pytest.mark.long
@pytest.mark.parametrize('method', ['KD', 'MHKD'])
def test_other_methods_train_the_same(method, distil):
    model = dict(type=f'mmkd.{method}')
    changes = {'train_cfg.max_epochs': 1}
    expected = train(distil('plain', model=model, **changes))
    found = train(distil('compiled', model={**model, **COMPILE}, **changes))
    for (_, own), (_, other) in zip(found, expected, strict=True):
        assert own == pytest.approx(other, rel=1e-5)  # two heads read the feature: their gradients are added


@pytest.mark.long
def test_channels_last_by_the_default_backend(distil):
    expected = train(distil('plain', model=dict(channels_last=True)))
    found = train(distil('compiled', model=dict(channels_last=True, compile=True)))
    assert [current for current, _ in found] == [current for current, _ in expected]
    for (_, own), (_, other) in zip(found, expected):
        assert own == pytest.approx(other, rel=1e-3)
