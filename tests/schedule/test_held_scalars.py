import copy
import json
from itertools import count

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmkd.schedule.held_scalars import MOST, HeldScalars, hold_scalars
from mmkd.schedule.long_history import LongHistory
from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
from tests.pretended import pretend_cuda

NUMBERS = count()


def hub_of_its_own(held: bool) -> MessageHub:
    hub = MessageHub.get_instance(f'held_{next(NUMBERS)}')
    if held:
        hold_scalars(hub)
        assert isinstance(hub, HeldScalars)
    return hub


def assert_same(one: dict, two: dict) -> None:
    """Keys in order; values and counts with their types, to the last bit."""
    assert list(one['log_scalars']) == list(two['log_scalars'])
    assert one['resumed_keys'] == two['resumed_keys']
    for key, history in one['log_scalars'].items():
        for mine, theirs in zip(history.data, two['log_scalars'][key].data):
            assert mine.dtype == theirs.dtype, key
            assert mine.tobytes() == theirs.tobytes(), key


def feed(hub: MessageHub) -> None:
    """Records values with types, counts and gaps of all kinds, and reads in between."""
    torch.manual_seed(0)
    for step in range(9):
        hub.update_scalar('train/lr', 0.1 / (step + 1))
        hub.update_scalar('train/loss', torch.rand((), requires_grad=True) * 3)
        hub.update_scalar('train/one', torch.rand(1, dtype=torch.float64))
        hub.update_scalar('train/half', torch.rand(()).bfloat16(), count=step + 1)
        hub.update_scalar('train/count', torch.tensor(step))
        hub.update_scalar('train/changing', torch.rand((), dtype=(torch.float32, torch.float64)[step % 2]))
        hub.update_scalar('train/mixed', torch.rand(()) if step % 3 == 2 else step / 7)
        hub.update_scalar('train/unsaved', torch.rand(()), resumed=False)
        if step > 4:
            hub.update_scalar('train/late', torch.tensor(float('nan')))
        hub.update_scalar('train/time', np.float64(step))
        if step in (0, 3):
            hub.get_scalar('train/loss')
        if step == 6:
            hub.log_scalars.pop('train/half')


def test_the_histories_are_mmengine_s_to_the_last_bit():
    held, own = hub_of_its_own(True), hub_of_its_own(False)
    for hub in (held, own):
        feed(hub)
    assert_same(copy.deepcopy(held.state_dict()), own.state_dict())
    assert list(held.log_scalars) == list(own.log_scalars)
    assert held.get_scalar('train/unsaved').mean() == own.get_scalar('train/unsaved').mean()


def test_what_mmengine_refuses_is_refused():
    for hub in (hub_of_its_own(True), hub_of_its_own(False)):
        with pytest.raises(AssertionError):
            hub.update_scalar('train/loss', torch.ones(2))
        with pytest.raises(KeyError):
            hub.get_scalar('nowhere')


def test_the_device_is_asked_when_somebody_reads():
    hub = hub_of_its_own(True)
    with pretend_cuda() as gpu:
        losses = [torch.ones((), device='cuda') * number for number in range(40)]
        gpu.reset()
        for loss in losses:
            hub.update_scalar('train/loss', loss)
            hub.update_scalar('train/loss_mimic', loss)
            hub.update_scalar('train/time', 1.0)
            hub.get_scalar('train/time')
        hold_scalars(hub)  # once more, which must lose nothing
        assert not gpu.waits
        assert not gpu.launches
        assert hub.get_scalar('train/loss').data[0].tolist() == list(range(40))
        assert gpu.waits.total() == 1
        assert hub.log_scalars['train/loss_mimic'].data[0].tolist() == list(range(40))
        hub.state_dict()
        assert gpu.waits.total() == 1
        for _ in range(MOST):  # nothing reads
            hub.update_scalar('train/loss', losses[0])
        assert gpu.waits.total() == 2
        assert not hub.held


def test_no_graph_is_kept():
    hub = hub_of_its_own(True)
    hub.update_scalar('train/loss', torch.ones((), requires_grad=True) * 2)
    assert all(not value.requires_grad for pairs in hub.held.values() for value, _ in pairs)


@pytest.mark.parametrize('case', ['epochs', 'iterations'])
def test_a_training_logs_and_saves_the_same(distil, tmp_path, monkeypatch, case):  # noqa: F811
    changes = {
        'train_cfg.max_epochs': 4,
        'train_cfg.val_interval': 3,
        'default_hooks.logger': dict(type='LoggerHook', interval=3),
        'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1),
        'optim_wrapper': dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9), clip_grad=dict(max_norm=1)
        ),
    }
    if case == 'iterations':
        del changes['train_cfg.max_epochs'], changes['train_cfg.val_interval']
        changes['train_dataloader.batch_size'] = 4  # mmengine sleeps at the end of the loader
        changes['train_cfg'] = dict(by_epoch=False, max_iters=14, val_interval=5)
        changes['param_scheduler'] = None
        changes['log_processor'] = dict(by_epoch=False, window_size=4)
        changes['default_hooks.checkpoint'] = dict(type='CheckpointHook', interval=7, by_epoch=False)
    hook = dict(stages=['layer1', 'layer2', 'head'], fractions=[0.25, 0.25, 0.5], score_teacher=False)
    distil('held', hook=hook, **changes).train()
    monkeypatch.setattr('mmkd.schedule.hook.hold_scalars', lambda hub: None)
    own = distil('own', hook=hook, **changes)
    own.train()
    assert type(own.message_hub) is MessageHub
    held_logs, own_logs = (_scalars(tmp_path / name) for name in ('held', 'own'))
    assert held_logs == own_logs
    assert {'loss', 'loss_mimic_layer1', 'grad_norm'} <= {key for line in held_logs for key in line}
    names = sorted(path.name for path in (tmp_path / 'own').glob('*.pth'))
    assert len(names) >= 2
    for name in names:
        saved = [torch.load(tmp_path / run / name, weights_only=False)['message_hub'] for run in ('held', 'own')]
        for hub in saved:
            for key in [key for key in hub['log_scalars'] if key.endswith('time')]:
                hub['log_scalars'][key] = type(hub['log_scalars'][key])()
        assert_same(*saved)
        assert 'train/grad_norm' in saved[0]['log_scalars']


def _scalars(folder) -> list[dict]:
    """The logged lines without times; keys keep their order."""
    (file,) = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith('time')} for line in lines]


def test_all_histories_are_long_ones_after_a_resume_too():
    hub = hub_of_its_own(False)
    feed(hub)
    hold_scalars(hub)
    hub.load_state_dict(copy.deepcopy(hub.state_dict()))
    feed(hub)
    assert {type(history) for history in hub.log_scalars.values()} == {LongHistory}
