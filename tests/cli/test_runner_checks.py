import pytest
from mmengine.config import Config

from mmkd.cli.checks import check_training
from mmkd.errors import UserError

VALID = dict(
    model=dict(type='x.Y'),
    train_cfg=dict(max_epochs=1),
    train_dataloader=dict(dataset=dict(type='x.Z')),
    optim_wrapper=dict(optimizer=dict(type='SGD')),
)
VALIDATION = dict(val_dataloader=dict(dataset=dict(type='x.Z')), val_cfg=dict(), val_evaluator=dict(type='x.M'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(VALIDATION, val_cfg=None), 'val_cfg: it is missing; define val_dataloader, val_cfg, val_evaluator, or'),
        (dict(test_cfg=dict()), 'test_dataloader: it is missing'),
        (dict(log_level='LOUD'), "log_level: it must be a level of logging such as 'INFO', not 'LOUD'"),
        (dict(log_level=[]), 'log_level: it must be'),
        (dict(visualizer='x'), "visualizer: it must be a dict with a type, not 'x'"),
        (dict(visualizer={}), 'visualizer: it must be a dict with a type, not {}'),
        (dict(auto_scale_lr=256), 'auto_scale_lr: it must be a dict, not 256'),
        (dict(auto_scale_lr=dict(enable=True)), 'auto_scale_lr.base_batch_size: it must be a number above 0, not None'),
        (dict(auto_scale_lr=dict(enable=True, base_batch_size=0)), 'auto_scale_lr.base_batch_size: it must be'),
    ],
)
def test_a_wrong_key_is_named(changes, message):
    with pytest.raises(UserError) as caught:
        check_training(Config({**VALID, **changes}))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        VALIDATION,
        dict(log_level='DEBUG', visualizer=dict(type='Visualizer')),
        dict(log_level=10),
        dict(auto_scale_lr=dict(enable=False)),
        dict(auto_scale_lr=dict(enable=True, base_batch_size=256)),
    ],
)
def test_valid_keys_pass(changes):
    check_training(Config({**VALID, **changes}))
