"""Users' schedules, right and wrong; tests/distillers checks what a schedule does to the bytes."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd.errors import UserError
from mmkd.hooks import StageScheduleHook
from mmkd.schedule.hook import KEY
from mmkd.schedule.loss_guard import LossGuard
from mmkd.stages.phases import Schedule
from tests.distil import own_config
from tests.distillers.test_sskd_training import bytes_of


class Rates(Hook):
    """Records the learning rate of each iteration, by stage."""

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        rates = [group['lr'] for group in runner.optim_wrapper.param_groups]
        self.seen.setdefault('+'.join(runner.model.current), []).append(rates)


def rates_of(runner) -> dict:
    rates = Rates()
    runner.register_hook(rates)
    runner.train()
    return rates.seen


def test_by_default_the_head_gets_half_and_each_stage_sees_the_whole_policy(distil, plain, tmp_path):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    runner = Runner.from_cfg(cfg)
    rates = []

    class Plain(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            rates.append(runner.optim_wrapper.param_groups[0]['lr'])

    runner.register_hook(Plain())
    runner.train()

    seen = rates_of(distil())
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer1=4, layer2=4, layer3=4, layer4=4, head=16)
    for steps in seen.values():
        assert [groups[0] for groups in steps] == [rates[i * 32 // len(steps)] for i in range(len(steps))]
        assert all(len(set(groups)) == 1 for groups in steps)  # the adapter's group has the same rate


SLOW = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))


class Clips(Hook):
    """Records for each phase how gradients are clipped and the norms that the log would have."""

    def __init__(self):
        self.clips, self.norms = {}, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        phase = '+'.join(runner.model.current)
        self.clips[phase] = runner.optim_wrapper.clip_grad_kwargs
        self.norms[phase] = 'train/grad_norm' in runner.message_hub.log_scalars


@pytest.fixture
def wide(distil, plain):
    """A Wide ResNet by one of its kind; its first two stages end without a norm, the third has one."""

    def make(wrapper: dict, model: dict | None = None, **hook):
        cfg = copy.deepcopy(plain)
        cfg.model.backbone = dict(type='mmkd.CIFARWideResNet', depth=10, widen_factor=1)
        networks = dict(student=cfg.model, teacher=dict(config=own_config(cfg), checkpoint=None))
        runner = distil(hook=hook, model={**networks, **(model or {})}, optim_wrapper=dict(SLOW, **wrapper))
        clips = Clips()
        runner.register_hook(clips)
        runner.train()
        return clips

    return make


@pytest.mark.parametrize(
    ('wrapper', 'expected'),  # without, the second stage diverges at the recipe's rate
    [({}, [10, None, 10, None]), (dict(clip_grad=None), [None] * 4), (dict(clip_grad=dict(max_norm=3)), [3] * 4)],
)
def test_stages_that_end_without_a_norm_are_clipped(wide, capsys, wrapper, expected):
    """A config that says something of it is followed; a phase that is not clipped logs no norm of another."""
    found = wide(wrapper, stages=['block1', 'relu', 'block2', 'head'], fractions=[0.25] * 4)
    assert list(found.clips) == ['block1', 'relu', 'block2', 'head']
    assert [clip and clip['max_norm'] for clip in found.clips.values()] == expected
    assert [*found.norms.values()] == [clip is not None for clip in expected]
    said = capsys.readouterr().out
    why = 'Gradients are clipped (optim_wrapper.clip_grad: max_norm=10), since {} ends without a norm layer.'
    for stage in ('block1', 'block2'):
        assert (f'Stage {stage} begins: 2 epochs. {why.format(stage)}' in said) == (10 in expected)
    assert said.count('ends without a norm layer') == expected.count(10)


def test_stages_that_are_learned_together_are_clipped_together(wide, capsys):
    together = ['block1', 'block2', 'relu']
    assert wide({}, stages=[together, 'head'], fractions=[0.5] * 2).clips == {
        'block1+block2+relu': dict(max_norm=10),
        'head': None,
    }
    assert 'since block1, block2 end without a norm layer.' in capsys.readouterr().out


def test_distances_that_are_not_summed_over_channels_are_not_clipped(wide):
    """Of the losses that users name, FeatureMimicLoss alone grows with the width."""
    losses = dict(stage_losses=dict(block1=dict(type='mmkd.PKDLoss')))
    found = wide({}, losses, stages=['block1', 'block2', 'head'], fractions=[0.4, 0.3, 0.3])
    assert [*found.clips.values()] == [None, dict(max_norm=10), None]


def test_the_loss_is_looked_at_after_a_log_and_at_an_end(distil, monkeypatch):
    """Then the device's queue is empty; 60 iterations in epochs of 4, each of which ends with a log."""
    looks = []
    check = LossGuard.check

    def looked(guard, *args):
        looks.extend([guard.last] if guard.losses else [])
        check(guard, *args)

    monkeypatch.setattr(LossGuard, 'check', looked)
    changes = {'train_cfg.max_epochs': 15, 'train_cfg.val_interval': 15, 'default_hooks.checkpoint': None}
    distil(model=dict(type='mmkd.KD'), **changes, **{'default_hooks.logger.interval': 100}).train()
    assert looks == list(range(3, 60, 4))


def test_order_subset_fractions_and_overrides(distil):
    overrides = dict(layer3=dict(lr=0.03), layer1=dict(lr=0.007))
    hook = dict(stages=['layer3', 'layer1', 'layer2'], fractions=[0.5, 0.25, 0.25], overrides=overrides)
    runner = distil(hook=hook)
    seen = rates_of(runner)
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer3=16, layer1=8, layer2=8)
    assert list(seen) == ['layer3', 'layer1', 'layer2']
    assert [steps[0][0] for steps in seen.values()] == [0.03, 0.007, 0.1]


def test_an_iteration_loop(distil):
    seen = rates_of(
        distil(
            hook=dict(stages=['layer2', 'head']),
            **{
                'train_cfg': dict(by_epoch=False, max_iters=9, val_interval=100),
                'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
                'param_scheduler': dict(type='MultiStepLR', milestones=[3, 6], by_epoch=False),
            },
        )
    )
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer2=4, head=5)
    assert [groups[0] for groups in seen['head']] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_lengths_in_iterations_of_an_epoch_loop(distil, plain, tmp_path):
    """8 epochs of 4 iterations; schedulers by epoch step inside each stage, at the same fractions of it."""
    hook = dict(stages=['layer2', 'layer4', 'head'], lengths=[5, 9, 18])
    changes = {
        'param_scheduler': dict(type='MultiStepLR', milestones=[4, 6], by_epoch=True),
        'train_cfg.val_interval': 2,
    }
    runner = distil('whole', hook, **changes)
    seen = rates_of(runner)
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer2=5, layer4=9, head=18)
    assert [groups[0] for groups in seen['layer4']] == pytest.approx([0.1] * 5 + [0.01] * 2 + [0.001] * 2)
    assert len(runner.message_hub.get_scalar('val/accuracy/top1').data[0]) == 3  # the head begins in the fourth epoch
    resumed = distil('resumed', hook, **changes, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_3.pth'))
    resumed.train()  # resumed within layer4
    assert bytes_of(resumed.model.student) == bytes_of(runner.model.student)


def test_the_best_state_of_a_stage_is_kept(distil, monkeypatch):
    from mmkd.schedule import stage_end

    losses = iter([3.0, 1.0, 2.0, 2.0])
    states = []

    def validate(runner, distiller, name, step):
        states.append(copy.deepcopy(distiller.student.state_dict()))
        return dict(mimic_loss=next(losses))

    monkeypatch.setattr(stage_end, 'validate_stages', validate)
    runner = distil(hook=dict(stages=['layer1', 'head'], keep_best=True))
    runner.train()
    last = runner.model.student.state_dict()
    for name in runner.model.plan.stages[0].parameters:
        assert torch.equal(last[name], states[1][name])
        assert not torch.equal(last[name], states[3][name])


def test_the_best_state_is_kept_over_a_resume(distil, monkeypatch, tmp_path):
    from mmkd.schedule import stage_end

    def validate(runner, distiller, name, step):
        return dict(mimic_loss=[9.0, 1.0, 2.0, 3.0][runner.epoch])

    monkeypatch.setattr(stage_end, 'validate_stages', validate)
    hook = dict(stages=['layer1', 'head'], keep_best=True)
    distil('whole', hook).train()
    saved = {epoch: torch.load(tmp_path / 'whole' / f'epoch_{epoch}.pth', weights_only=False) for epoch in (2, 3, 4)}
    distil('resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_3.pth')).train()
    ends = [torch.load(tmp_path / run / 'epoch_4.pth', weights_only=False) for run in ('whole', 'resumed')]
    for name, value in saved[2]['state_dict'].items():
        assert all(torch.equal(end['state_dict'][name], value) for end in ends), name
    assert not all(torch.equal(value, saved[3]['state_dict'][name]) for name, value in saved[2]['state_dict'].items())


class Steps(Hook):
    """Records the stage, the loss's weight and whether the optimizer steps, for each iteration."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = next(p for p in runner.model.parameters() if p.requires_grad).detach().clone()
        weight = float(runner.optim_wrapper.scale_loss(torch.ones(())))
        self.seen.append(['+'.join(runner.model.current), weight, len(runner.optim_wrapper.optimizer.state) > 0])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        now = next(p for p in runner.model.parameters() if p.requires_grad)
        self.seen[-1].append(not torch.equal(self.before, now))


def steps_of(runner) -> list:
    steps = Steps()
    runner.register_hook(steps)
    runner.train()
    return [tuple(seen) for seen in steps.seen]


UNEVEN = {
    'train_dataloader.dataset.indices': 48,  # three iterations per epoch
    'train_cfg.max_epochs': 4,
    'optim_wrapper.accumulative_counts': 2,
    'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1),
}


def test_steps_are_counted_anew_in_each_stage_which_ends_with_one(distil, tmp_path):
    """A remainder too small for a step makes one, and no gradient is carried over."""
    hook = dict(stages=['layer1', 'all'], lengths=[1, 3])
    one, rest = [(0.5, False, False), (0.5, False, True), (1.0, True, True)], [(0.5, True, False), (0.5, True, True)]
    expected = [('layer1', *seen) for seen in one]
    names = '+'.join(['layer1', 'layer2', 'layer3', 'layer4', 'head'])
    expected += [(names, *seen) for seen in [*one[:2], *rest * 3, (1.0, True, True)]]
    assert steps_of(distil('whole', hook, **UNEVEN)) == expected
    resumed = distil('resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_3.pth'), **UNEVEN)
    assert steps_of(resumed) == expected[9:]


def test_lengths_in_epochs_and_a_summary(distil, tmp_path):
    runner = distil(hook=dict(stages=['layer1', 'head'], lengths=[1, 7]))
    seen = rates_of(runner)
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer1=4, head=28)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert "The teacher's own score on the student's validation images: accuracy/top1" in text
    assert 'Stage layer1 begins: 1 epoch.' in text
    assert 'Stage layer1 ends: 4 iterations in ' in text
    rows = text.partition('Summary of the stages:')[2].split('\n')
    assert [row.split()[:2] for row in rows[2:5]] == [['layer1', '4'], ['head', '28'], ['total', '32']]


def test_the_best_state_is_in_the_checkpoint_of_a_last_stage_without_head(distil, monkeypatch, tmp_path):
    from mmkd.schedule import stage_end

    losses = iter([2.0, 1.0, *[3.0] * 6])
    states = []

    def validate(runner, distiller, name, step):
        states.append(copy.deepcopy(distiller.student.state_dict()))
        return dict(mimic_loss=next(losses))

    monkeypatch.setattr(stage_end, 'validate_stages', validate)
    distil(hook=dict(stages=['layer1'], keep_best=True)).train()
    saved = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)['state_dict']
    assert all(torch.equal(saved[name], states[1][name]) for name in saved)


def test_a_deeper_look_at_stage_losses(distil):
    runner = distil(
        hook=dict(stages=['layer1', 'layer2', 'head']),
        model=dict(stage_losses=dict(layer2=dict(type='mmkd.FeatureMimicLoss', kind='cosine'))),
    )
    runner.train()
    assert runner.model.mimicking.loss_of('layer1').kind == 'mse'
    assert runner.model.mimicking.loss_of('layer2').kind == 'cosine'


@pytest.mark.parametrize(
    ('hook', 'model', 'message'),
    [
        (dict(fractions=[0.5, 0.5]), {}, r'stages\.fractions: 2 numbers for 5 stages \(layer1, layer2'),
        (dict(stages=['layer1', 'head'], fractions=[0.5, 0.6]), {}, r'sum to 1\.1, not to 1'),
        (dict(stages=['layer9']), {}, r'the student has no stage layer9, only layer1.* Did you mean layer'),
        (dict(stages=['layer1', 'layer1', 'head']), {}, 'layer1 is named twice'),
        (dict(stages=['layer1'], unfreeze_last=True), {}, 'only the head can teach all'),
        (dict(stages=['layer1', 'head'], lengths=[1, 8]), {}, r'stages\.lengths: \[1, 8\] must be .* whose sum is 8'),
        (dict(overrides=dict(neck=dict(lr=1))), {}, 'the student has no stage neck'),
        (dict(overrides=dict(head=dict(lr=-1))), {}, r'overrides\.head: .* does not fit optim_wrapper\.optimizer \(Va'),
        (dict(), dict(stage_losses=dict(layer5=dict(type='mmkd.FeatureMimicLoss'))), 'no stage layer5'),
        (
            dict(),
            dict(pairs=[('layer1', 'layer1'), ('layer6', 'layer4')]),
            r"No stage can end at 'layer6'.*Did you mean",
        ),
        (dict(), dict(pairs=[('layer2', 'layer1', 'x')]), r'model\.pairs: .* must be pairs'),
    ],
)
def test_mistakes_are_told_before_the_first_iteration(distil, hook, model, message):
    runner = distil(hook=hook, model=model)
    with pytest.raises(UserError, match=message):
        runner.train()
    assert runner.iter == 0


def test_what_the_students_config_freezes_is_left_out(distil, tmp_path):
    pretrained = {'model.student.backbone.init_cfg': [dict(type='Pretrained', checkpoint='weights.pth')]}
    runner = distil(**{'model.student.backbone.frozen_stages': 2, **pretrained})
    runner.model.init_weights = lambda: None  # this file does not exist
    runner._has_loaded = True
    seen = rates_of(runner)
    assert {name: len(steps) for name, steps in seen.items()} == dict(layer3=8, layer4=8, head=16)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert log.read_text().count("is frozen by the student's config") == 2


def test_a_frozen_stage_cannot_be_asked_for(distil):
    frozen = {'model.student.backbone.frozen_stages': 1, 'load_from': 'student.pth'}
    with pytest.raises(UserError, match='layer1 cannot be learned without the head'):
        distil(hook=dict(stages=['layer1', 'head']), **frozen).train()


def test_random_weights_that_stay_are_refused(distil):
    with pytest.raises(UserError, match=r'model\.student\.backbone: .* set norm_eval=False, or name its weights'):
        distil(**{'model.student.backbone.norm_eval': True}).train()


def test_fractions_and_lengths():
    with pytest.raises(UserError, match='fractions and lengths say the same thing twice'):
        StageScheduleHook(fractions=[1], lengths=[8])


def test_more_stages_than_epochs(distil):
    with pytest.raises(UserError, match='4 epochs are too few for 5 stages'):
        distil(**{'train_cfg.max_epochs': 4}).train()


def test_a_plain_model_is_no_distiller(plain, tmp_path):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path), experiment_name=tmp_path.name)
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook')
    with pytest.raises(UserError, match='model is no distiller'):
        Runner.from_cfg(cfg).train()


def test_a_plain_checkpoint_cannot_be_resumed_but_started_from(distil, plain, tmp_path):
    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    cfg.train_cfg.max_epochs = 1
    plain_runner = Runner.from_cfg(cfg)
    plain_runner.train()
    path = str(tmp_path / 'plain' / 'epoch_1.pth')
    with pytest.raises(UserError, match='holds a plain model and no stage'):
        distil('resumed', resume=True, load_from=path).train()

    runner = distil('started', hook=dict(stages=['head']), load_from=path, **{'train_cfg.max_epochs': 1})
    runner.train()
    for name, tensor in plain_runner.model.backbone.state_dict().items():
        assert torch.equal(runner.model.student.backbone.state_dict()[name], tensor), name


def test_another_schedule_is_no_resume(distil, tmp_path):
    distil('first', dict(stages=['layer1', 'head'])).train()
    for hook in (dict(stages=['layer2', 'head']), dict(stages=['layer1', 'head'], lengths=[3, 5])):
        with pytest.raises(UserError, match='resume with the config that made it'):
            distil('second', hook, resume=True, load_from=str(tmp_path / 'first' / 'epoch_2.pth')).train()


def test_a_resume_with_other_stages_says_both_schedules():
    hook = StageScheduleHook()
    hook.schedule = Schedule((('layer1',), ('layer2', 'head')), (2, 6), 'epochs', ('layer1', 'layer2', 'head'))
    saved = dict(phases=[['layer1'], ['layer1', 'layer2', 'head']], lengths=[1, 7])
    with pytest.raises(UserError) as caught:
        hook.after_load_checkpoint(SimpleNamespace(_resume=True), {KEY: saved})
    assert str(caught.value) == (
        '--resume: the checkpoint was made with the stages layer1 (1 epoch), all (7 epochs), the config now '
        'says layer1 (2 epochs), layer2+head (6 epochs); resume with the config that made it, or start '
        'anew in another --work-dir.'
    )


NO_HEAD = "No phase learned the student's head, and it is not the teacher's"


@pytest.mark.parametrize(
    ('hook', 'model', 'warned'),
    [
        (dict(stages=['layer3', 'layer4'], lengths=[4, 4]), {}, False),
        (dict(stages=['layer4', 'layer2'], lengths=[5, 3]), {}, False),  # inherited before the last phase
        (dict(stages=['layer2', 'layer3'], lengths=[4, 4]), {}, True),  # the features are incomplete
        (dict(stages=['layer3', 'layer4'], lengths=[4, 4]), dict(head_from_teacher=False), True),
        (dict(stages=['layer4', 'head'], lengths=[5, 3]), dict(head_from_teacher=False), False),
    ],
)
def test_a_validation_with_a_head_that_nothing_made_is_warned_about(distil, tmp_path, hook, model, warned):
    distil('run', hook, model).train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert (NO_HEAD in log.read_text()) == warned


def test_a_head_that_cannot_be_inherited_is_warned_about_once(distil, tmp_path):
    hook, other = dict(stages=['layer4'], lengths=[8]), dict(type='StackedLinearClsHead', mid_channels=[16])
    other.update(num_classes=10, in_channels=64)
    distil('run', hook, **{'model.student.head': other}).train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert "does not start from the teacher's: the" in text
    assert text.count(NO_HEAD) == 1


def test_a_resumed_run_knows_that_the_head_was_inherited(distil, tmp_path):
    hook = dict(stages=['layer4', 'layer2'], lengths=[5, 3])
    distil('run', hook).train()
    distil('resumed', hook, resume=True, load_from=str(tmp_path / 'run' / 'epoch_6.pth')).train()
    (log,) = (tmp_path / 'resumed').glob('*/*.log')
    assert NO_HEAD not in log.read_text()


@pytest.mark.parametrize(
    ('hook', 'changes', 'begins'),
    [
        ({}, {}, ['before']),
        (dict(stages=['layer4'], lengths=[8]), {}, ['before']),
        (dict(stages=[['layer1', 'layer4'], 'layer2', 'all'], lengths=[2, 2, 4]), {}, ['before']),
        (dict(stages=['layer1', 'all'], lengths=[4, 4]), {}, []),  # the last feature is never a stage of its own
        (dict(stages=['all']), {}, []),
        ({}, dict(load_from='epoch_1.pth'), []),  # this one has weights of its own
        ({}, dict(load_from='epoch_1.pth', resume=True), []),
    ],
)
def test_the_neck_begins_as_the_teachers_where_it_is_learned_before_the_head(
    distil, tmp_path, monkeypatch, hook, changes, begins
):
    seen = []
    monkeypatch.setattr('mmkd.distillers.SSKD.inherit_neck', lambda self: seen.append(self.current or 'before') or '')
    changes = dict(changes)
    if 'load_from' in changes:
        with monkeypatch.context() as patch:
            patch.setattr('mmkd.distillers.SSKD.inherit_neck', lambda self: '')
            distil('first', hook).train()
        changes['load_from'] = str(tmp_path / 'first' / changes['load_from'])
    distil('run', hook, **changes).train()
    assert seen == begins
