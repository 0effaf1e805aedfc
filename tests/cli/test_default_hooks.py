import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmkd.cli.default_hooks import add_safe_hooks, add_schedule
from mmkd.distillers import SSKD
from mmkd.hooks import StageScheduleHook
from mmkd.registry import MODELS

SCHEDULE = dict(type='mmkd.StageScheduleHook')


def hooks_of(kind, hooks=None, **more):
    """The default hooks after the tools have completed them, for a model of this type."""
    cfg = Config(dict(model=dict(type=kind, student=dict(), teacher=dict()), default_hooks=hooks, **more))
    add_schedule(cfg)
    return cfg.default_hooks


@pytest.mark.parametrize('kind', ['mmkd.SSKD', 'mmkd.KD', 'mmkd.MHKD', 'mmkd.FeatureKD', SSKD])
def test_a_distiller_needs_no_word_about_stages(kind):
    timer = dict(type='IterTimerHook')
    assert hooks_of(kind) == dict(stages=SCHEDULE)
    assert hooks_of(kind, dict(timer=timer)) == dict(timer=timer, stages=SCHEDULE)
    assert hooks_of(kind, dict(stages=None)) == dict(stages=SCHEDULE)


def test_options_need_no_type():
    assert hooks_of('mmkd.SSKD', dict(stages=dict(lengths=[3, 5]))) == dict(stages=dict(SCHEDULE, lengths=[3, 5]))


@pytest.mark.parametrize('kind', ['mmkd.StageScheduleHook', 'StageScheduleHook', StageScheduleHook, 'MyScheduleHook'])
def test_the_user_s_stays(kind):
    hook = dict(type=kind, keep_best=True)
    assert hooks_of('mmkd.SSKD', dict(stages=hook)) == dict(stages=hook)


@pytest.mark.parametrize('kind', ['mmkd.StageScheduleHook', StageScheduleHook])
def test_also_at_another_place(kind):
    hook = dict(type=kind, keep_best=True)
    assert hooks_of('mmkd.SSKD', dict(schedule=hook)) == dict(schedule=hook)
    assert hooks_of('mmkd.SSKD', dict(), custom_hooks=[dict(type='EMAHook'), hook]) == dict()


@pytest.mark.parametrize('kind', ['mmkd.SSDK', 'ResNet', 'mmkd.FeatureMimicLoss', None])
def test_other_models_get_none(kind):
    """Models that are not distillers get no hook, even if they have a student."""
    assert hooks_of(kind, dict()) == dict()


def test_a_distiller_of_the_user_s_own_is_one():
    @MODELS.register_module(name='MyOwnDistiller')
    class Own(SSKD):
        pass

    try:
        assert hooks_of('mmkd.MyOwnDistiller') == dict(stages=SCHEDULE)
        assert hooks_of('MyOwnDistiller') == dict(stages=SCHEDULE)
    finally:
        MODELS.module_dict.pop('MyOwnDistiller')


@pytest.mark.parametrize('kind', ['CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook])
def test_mmengine_s_hook_is_replaced_and_its_arguments_stay(kind):
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type=kind, interval=3, save_best='auto'))))
    add_safe_hooks(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='mmkd.SafeCheckpointHook', interval=3, save_best='auto')


def test_also_where_the_config_says_nothing():
    cfg = Config(dict())
    add_safe_hooks(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='mmkd.SafeCheckpointHook', interval=1)


@pytest.mark.parametrize('hook', [None, dict(type='MyCheckpointHook', interval=3)])
def test_what_the_user_chose_stays(hook):
    cfg = Config(dict(default_hooks=dict(checkpoint=hook)))
    add_safe_hooks(cfg)
    assert cfg.default_hooks.checkpoint == hook


def test_signals_are_minded_unless_the_config_says_otherwise():
    cfg = Config(dict())
    add_safe_hooks(cfg)
    assert cfg.default_hooks.preemption == dict(type='mmkd.PreemptionHook')
    cfg = Config(dict(default_hooks=dict(preemption=None)))
    add_safe_hooks(cfg)
    assert 'preemption' not in cfg.default_hooks
