"""Hooks of mmengine and the toolboxes in short distillations."""

import copy

import pytest
import torch
from mmengine.hooks import EMAHook, Hook

SHORT = {'train_cfg.max_epochs': 4}
STAGES = dict(stages=['layer1', 'layer2', 'head'], lengths=[1, 1, 2], score_teacher=False)


def average(runner) -> dict:
    """Return the averaged student."""
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    return hook.ema_model.module.state_dict()


class Watch(Hook):
    """Record the averaged student and the student itself after each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.averages, self.students = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.averages.append(copy.deepcopy(average(runner)))
        self.students.append(copy.deepcopy(runner.model.state_dict()))


def same(one: dict, two: dict, part: str = '') -> bool:
    return all(torch.equal(one[name], two[name]) for name in one if part in name)


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='EMAHook', momentum=0.1),
        dict(type='mmengine.EMAHook', ema_type='StochasticWeightAverage'),
        dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.1, gamma=10, update_buffers=True),
    ],
)
def test_averaged_weights(distil, tmp_path, hook):
    if hook.get('ema_type') == 'ExpMomentumEMA':
        pytest.importorskip('mmdet')
        hook['ema_type'] = 'mmdet.ExpMomentumEMA'
    runner = distil(hook=STAGES, custom_hooks=[hook], **SHORT)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert {*watch.averages[0]} == {*watch.students[0]}  # the student's keys and no others
    for first in (0, 4, 8):  # each stage begins a new average
        assert same(watch.averages[first], watch.students[first])
    for i, (averages, student) in enumerate(zip(watch.averages, watch.students)):
        learned, done = ('layer1', 'layer2', 'head', 'head')[i // 4], ('layer0', 'layer1', 'layer', 'layer')[i // 4]
        assert same(averages, student, f'{done}')  # frozen parameters stay as they are
        assert (i % 4 == 0 and i < 12) or not same(averages, student, f'{learned}.')
    saved = torch.load(tmp_path / 'run' / 'epoch_4.pth', weights_only=False)
    assert same(saved['state_dict'], watch.averages[-1])
    assert same(
        {name[7:]: value for name, value in saved['ema_state_dict'].items() if name != 'steps'}, watch.students[-1]
    )


@pytest.mark.parametrize('update_buffers', [False, True])
def test_only_what_learns_is_averaged(distil, update_buffers):
    model = dict(type='mmkd.MHKD', heads=dict(type='mmkd.AuxiliaryHead', width=8))  # its extras learn
    hooks = [dict(type='EMAHook', update_buffers=update_buffers)]
    runner = distil(model=model, hook=STAGES, custom_hooks=hooks, **SHORT)
    averaged = []

    class Names(Hook):
        def after_train_epoch(self, runner):
            (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
            names = {name.removeprefix('student.') for name in hook.ema_model.avg_parameters}
            averaged.append(names & {name for name, _ in runner.model.student.named_parameters()})
            assert not [name for name in hook.ema_model.avg_parameters if name.startswith('extras.')]

    runner.register_hook(Names())
    runner.train()
    for names, stage in zip(averaged, ('layer1', 'layer2', 'head', 'head')):
        assert names
        if stage == 'head':
            assert all(name.startswith('head.') for name in names)
        else:
            assert not [name for name in names if name.startswith(('head', 'backbone.layer3', 'backbone.layer4'))]
            assert any(name.startswith(f'backbone.{stage}.') for name in names)


@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_a_resumed_average_goes_on(distil, tmp_path, epoch):
    hooks = [dict(type='EMAHook', momentum=0.1)]
    whole = distil('whole', hook=STAGES, custom_hooks=copy.deepcopy(hooks), **SHORT)
    whole.train()
    path = str(tmp_path / 'whole' / f'epoch_{epoch}.pth')
    resumed = distil('resumed', hook=STAGES, custom_hooks=hooks, resume=True, load_from=path, **SHORT)
    resumed.train()
    assert same(average(whole), average(resumed))
    assert same(whole.model.state_dict(), resumed.model.state_dict())


def test_early_stopping_best_checkpoints_precise_statistics_and_drawings_begin_with_the_head(distil, tmp_path):
    runner = distil(
        hook=dict(stages=['layer1', 'head'], lengths=[1, 7], score_teacher=False),
        custom_hooks=[
            dict(type='EarlyStoppingHook', monitor='accuracy/top1', min_delta=100, patience=1),
            dict(type='PreciseBNHook', num_samples=32),
        ],
        **{
            'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, save_best='auto', max_keep_ckpts=1),
            'default_hooks.visualization': dict(
                type='VisualizationHook', enable=True, interval=1, out_dir=str(tmp_path / 'drawn')
            ),
        },
    )
    frozen = {}

    class Frozen(Hook):
        def before_train_epoch(self, runner):
            frozen[runner.epoch] = copy.deepcopy(runner.model.student.state_dict())

    runner.register_hook(Frozen())
    runner.train()
    assert runner.epoch == 3  # the first score, and one that is no better
    kept = sorted(path.name for path in (tmp_path / 'run').glob('*.pth'))
    assert kept[0] in ('best_accuracy_top1_epoch_2.pth', 'best_accuracy_top1_epoch_3.pth')
    assert kept[1:] == ['epoch_3.pth']
    assert {path.stem.split('_')[1] for path in (tmp_path / 'drawn').iterdir()} == {'2', '3'}  # epochs
    assert same(frozen[1], runner.model.student.state_dict(), 'layer1')
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'Summary of the stages:' in log.read_text()


def test_recipes_are_switched_on_the_student(distil):
    pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs')]
    switch = dict(
        action_epoch=3,
        train_pipeline=pipeline,
        batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    )
    runner = distil(hook=STAGES, custom_hooks=[dict(type='SwitchRecipeHook', schedule=[switch])], **SHORT)
    runner.train()
    assert type(runner.model.student.head.loss_module).__name__ == 'LabelSmoothLoss'
    assert runner.model.student.data_preprocessor.batch_augments is not None
    assert len(runner.train_dataloader.dataset.pipeline.transforms) == 2


@pytest.mark.parametrize(('unit', 'length'), [('epoch', 2), ('iter', 3)])
def test_the_best_state_of_a_stage_is_its_average_too(distil, tmp_path, monkeypatch, unit, length):
    from mmkd.schedule import stage_end

    losses = iter([1.0, *[2.0] * (length - 1)] * 2)
    states = []

    def validate(runner, distiller, name, step):
        states.append(copy.deepcopy(distiller.student.state_dict()))
        return dict(mimic_loss=next(losses))

    monkeypatch.setattr(stage_end, 'validate_stages', validate)
    by_epoch = unit == 'epoch'
    runner = distil(
        hook=dict(stages=['layer1', 'layer2'], lengths=[length] * 2, keep_best=True, score_teacher=False),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        train_cfg={'by_epoch': by_epoch, f'max_{unit}s': 2 * length, 'val_interval': 1},
        param_scheduler=None,
        **{'default_hooks.checkpoint': dict(type='CheckpointHook', interval=length, by_epoch=by_epoch)},
    )
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    for end, best in ((length, states[0]), (2 * length, states[length])):
        saved = torch.load(tmp_path / 'run' / f'{unit}_{end}.pth', weights_only=False)
        assert same(saved['state_dict'], best)
        assert same({name[7:]: value for name, value in saved['ema_state_dict'].items() if name != 'steps'}, best)
    if by_epoch:
        assert not same(watch.averages[-1], watch.students[-1])  # before the stage's end the student is an average


def test_averages_of_mmpretrain_are_evaluated_on_both(distil, tmp_path):
    hook = dict(type='mmpretrain.EMAHook', momentum=0.1, evaluate_on_ema=True, evaluate_on_origin=True)
    runner = distil(hook=STAGES, custom_hooks=[hook], **SHORT)
    runner.train()
    scores = runner.message_hub.log_scalars
    assert {'val/accuracy/top1', 'val/accuracy/top1_origin'} <= {*scores}
    saved = torch.load(tmp_path / 'run' / 'epoch_4.pth', weights_only=False)
    assert same(saved['state_dict'], average(runner))
