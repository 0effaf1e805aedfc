"""Real trainings: what a stage changes, what stays, and what the checkpoint contains."""

import copy
import math
from typing import ClassVar

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmkd.acceleration.batchnorm_folding import unfold
from mmkd.errors import UserError


def bytes_of(network, names=None) -> dict[str, bytes]:
    """Parameters and buffers as bytes."""
    return {
        name: tensor.detach().numpy().tobytes()
        for name, tensor in network.state_dict().items()
        if names is None or name in names
    }


class Watch(Hook):
    """Records the bytes of student, extras and teacher at each stage's start and end."""

    priority = 6  # directly after the schedule

    def __init__(self):
        self.stages = []

    def before_train_epoch(self, runner):
        distiller = runner.model
        if not self.stages or self.stages[-1]['names'] != distiller.current:
            self.stages.append(dict(names=distiller.current, start=self.take(distiller)))

    def after_train_epoch(self, runner):
        self.stages[-1]['end'] = self.take(runner.model)

    @staticmethod
    def take(distiller):
        return {
            'student': bytes_of(distiller.student),
            'extras': bytes_of(distiller.extras),
            'teacher': bytes_of(distiller.teacher.network),
        }


@pytest.fixture
def watched(distil):
    runner = distil()
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def test_only_the_stage_and_its_adapter_change_and_the_teacher_never_does(watched):
    runner, watch = watched
    plan = runner.model.plan
    assert [stage['names'] for stage in watch.stages] == [('layer1',), ('layer2',), ('layer3',), ('layer4',), ('head',)]
    for record, stage in zip(watch.stages, plan):
        before, after = record['start'], record['end']
        changed = {name for name in before['student'] if before['student'][name] != after['student'][name]}
        own_buffers = {
            name
            for name in before['student']
            if name not in dict(runner.model.student.named_parameters()) and name.rpartition('.')[0] in stage.modules
        }
        if stage is plan.stages[-1]:  # at the end of the stage the head becomes the teacher's
            assert set(plan.head.parameters) <= changed
            changed -= set(plan.head.parameters)
        assert changed <= set(stage.parameters) | own_buffers
        assert set(stage.parameters) <= changed
        adapters = {name.split('.')[0] for name in before['extras'] if before['extras'][name] != after['extras'][name]}
        assert adapters == (set() if stage is plan.head else {stage.name})
        assert before['teacher'] == after['teacher'] == watch.stages[0]['start']['teacher']


def test_by_default_everything_learns_at_the_end_from_the_teachers_head(distil):
    runner = distil('run', hook=dict(unfreeze_last=None))
    ends = []

    class Watch(Hook):
        priority = 'VERY_LOW'

        def after_train_epoch(self, runner):
            ends.append(bytes_of(runner.model.student))

    runner.register_hook(Watch())
    runner.train()
    assert runner.model.current == ('layer1', 'layer2', 'layer3', 'layer4', 'head')
    assert [hook.schedule.lengths for hook in runner.hooks if hasattr(hook, 'schedule')] == [(1, 1, 1, 1, 4)]
    assert all(ends[3][name] != ends[4][name] for name in dict(runner.model.student.named_parameters()))


def test_without_labels_the_student_scores_as_the_teacher_does_of_its_features(distil, tmp_path):
    """No phase trains the head: 3 single stages; the last one is validated, since its head is the teacher's."""
    runner = distil('run', hook=dict(stages=['layer2', 'layer3', 'layer4'], lengths=[3, 2, 3]))
    runner.train()
    model, inputs = runner.model.eval(), torch.randn(5, 3, 16, 16)
    teacher = model.teacher.network
    with torch.no_grad():
        adapter = model.extras['layer4'].eval()
        (feature,) = adapter(*([model.student.backbone(inputs)[-1:], teacher.backbone(inputs)[-1:]]))
        wanted = teacher.head.fc(feature.mean((2, 3)))
        torch.testing.assert_close(model.student(inputs, mode='tensor'), wanted, rtol=1e-4, atol=1e-5)
    saved = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['head.fc.weight'], model.student.head.fc.weight)
    assert len(runner.message_hub.get_scalar('val/accuracy/top1').data[0]) == 1  # with the teacher's head, at the end


def test_a_label_free_run_resumes_byte_for_byte(distil, tmp_path):
    hook = dict(stages=['layer2', 'layer4'], lengths=[4, 4])
    whole = distil('whole', hook)
    whole.train()
    resumed = distil('resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_6.pth'))
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


def test_the_head_can_be_left_alone(distil):
    runner = distil('run', hook=dict(stages=['layer4'], lengths=[8]), model=dict(head_from_teacher=False))
    runner.train()
    assert not torch.equal(runner.model.student.head.fc.bias, runner.model.teacher.network.head.fc.bias)
    assert runner.model.student.head.fc.bias.abs().max() == 0  # as initialised


def test_the_checkpoint_is_the_plain_student(watched, plain, tmp_path):
    from mmpretrain import get_model

    runner, _ = watched
    checkpoint = torch.load(tmp_path / 'run' / 'epoch_8.pth', weights_only=False)
    student = get_model(copy.deepcopy(plain), pretrained=False)
    assert list(checkpoint['state_dict']) == list(student.state_dict())
    student.load_state_dict(checkpoint['state_dict'], strict=True)
    assert bytes_of(student) == bytes_of(runner.model.student)

    cfg = copy.deepcopy(plain)
    cfg.update(
        work_dir=str(tmp_path / 'test'),
        load_from=str(tmp_path / 'run' / 'epoch_8.pth'),
        experiment_name=f'{tmp_path.name}_plain_test',
        test_dataloader=cfg.val_dataloader,
        test_evaluator=cfg.val_evaluator,
    )
    metrics = Runner.from_cfg(cfg).test()
    validated = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert 0 < validated < 100
    assert math.isclose(metrics['accuracy/top1'], validated, abs_tol=1e-4)


def test_nothing_after_the_stage_runs_in_either_network(distil):
    runner = distil()
    distiller = runner.model
    calls = []

    def count(*at):
        def hook(*_):
            if distiller.training:
                calls.append((distiller.current, *at))

        return hook

    for label, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
        for name in ('layer1', 'layer2', 'layer3', 'layer4'):
            network.backbone.get_submodule(name)[0].conv1.register_forward_hook(count(label, name))
        network.head.fc.register_forward_hook(count(label, 'head'))
    runner.train()
    seen = {stage: {call[1:] for call in calls if call[0] == (stage,)} for stage in ('layer1', 'layer3', 'head')}
    assert seen['layer1'] == {('student', 'layer1'), ('teacher', 'layer1')}
    assert seen['layer3'] == {(who, f'layer{i}') for who in ('student', 'teacher') for i in (1, 2, 3)}
    assert seen['head'] == {('student', name) for name in ('layer1', 'layer2', 'layer3', 'layer4', 'head')}


def test_the_head_alone_with_everything_unfrozen_is_the_plain_training_to_the_last_bit(distil, plain, tmp_path):
    class Losses(Hook):
        def __init__(self):
            self.seen = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.seen.append(outputs['loss'].item())

    def train(runner):
        losses = Losses()
        runner.register_hook(losses)
        runner.train()
        return losses.seen

    cfg = copy.deepcopy(plain)
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    plain_runner = Runner.from_cfg(cfg)
    expected = train(plain_runner)
    distilled = distil('distilled', hook=dict(stages=['head'], unfreeze_last=True), model=dict(weight=0))
    assert train(distilled) == expected
    assert bytes_of(distilled.model.student) == bytes_of(plain_runner.model)


@pytest.mark.parametrize('epoch', [1, 2, 3, 6])
def test_resume_ends_byte_for_byte_where_the_uninterrupted_run_ends(distil, tmp_path, epoch):
    hook = dict(stages=['layer2', 'layer4', 'head'])
    whole = distil('whole', hook)
    whole.train()
    resumed = distil('resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / f'epoch_{epoch}.pth'))
    resumed.train()
    assert resumed.epoch == whole.epoch == 8
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


def test_resume_without_a_seed_in_the_config_keeps_the_sample_order(distil, tmp_path):
    hook, changes = dict(stages=['layer2', 'head']), dict(randomness=dict(seed=None))
    whole = distil('whole', hook, **changes)
    whole.train()
    resumed = distil('resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / 'epoch_2.pth'), **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


@pytest.mark.parametrize('iteration', [4, 6, 9])
def test_resume_of_iteration_loops(distil, tmp_path, iteration):
    changes = {
        'train_cfg': dict(by_epoch=False, max_iters=12, val_interval=4),
        'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
        'param_scheduler': dict(type='CosineAnnealingLR', by_epoch=False),
        'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=1),
    }
    hook = dict(stages=['layer2', 'head'])
    whole = distil('whole', hook, **changes)
    whole.train()
    resumed = distil(
        'resumed', hook, resume=True, load_from=str(tmp_path / 'whole' / f'iter_{iteration}.pth'), **changes
    )
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)


@pytest.mark.parametrize(
    'changes',
    [
        {'train_dataloader.num_workers': 1},
        {'optim_wrapper.accumulative_counts': 2},
        {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]},
        {'model.student.head.loss': dict(type='LabelSmoothLoss', label_smooth_val=0.1)},
    ],
    ids=['workers', 'accumulation', 'ema', 'another loss'],
)
def test_resume_in_the_middle_of_a_stage(distil, tmp_path, changes):
    hook = dict(stages=['layer3', 'head'])
    whole = distil('whole', hook, **changes)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_2.pth')
    resumed = distil('resumed', hook, resume=True, load_from=path, **changes)
    resumed.train()
    assert bytes_of(resumed.model.student) == bytes_of(whole.model.student)
    last = [torch.load(tmp_path / run / 'epoch_8.pth', weights_only=False) for run in ('whole', 'resumed')]
    for key in {'state_dict', 'ema_state_dict'} & set(last[0]):
        assert all(torch.equal(last[0][key][name], last[1][key][name]) for name in last[0][key])


def test_accuracy_is_validated_from_the_head_stage_on(watched, tmp_path):
    import json

    lines = [json.loads(line) for line in next((tmp_path / 'run').glob('*/vis_data/scalars.json')).open()]
    accuracies = [line['step'] for line in lines if 'accuracy/top1' in line]
    mimic = [line['step'] for line in lines if 'val_mimic_loss' in line]
    assert accuracies == [5, 6, 7, 8]
    assert len(mimic) == 4


def test_all_stages_at_once(distil):
    layers = ('layer1', 'layer2', 'layer3', 'layer4')
    runner = distil(hook=dict(stages=[list(layers), 'head'], lengths=[1, 7]))
    watch, mimicked = Watch(), []
    runner.register_hook(watch)

    class Terms(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            mimicked.append({name for name in outputs if 'mimic' in name})

    runner.register_hook(Terms())
    runner.train()
    together, head = watch.stages
    assert (together['names'], head['names']) == (layers, ('head',))
    assert mimicked == [{f'loss_mimic_{name}' for name in layers}] * 4 + [set()] * 28
    for stage in runner.model.plan:
        is_head = stage is runner.model.plan.head
        for record, learns in ((together, True), (head, is_head)):  # head and features are inherited
            changed = [record['start']['student'][name] != record['end']['student'][name] for name in stage.parameters]
            assert changed == [learns] * len(stage.parameters), stage.name


def test_not_a_number_stops_and_names_stage_and_iteration(distil, tmp_path):
    runner = distil(**{'optim_wrapper.optimizer.lr': 1e30})
    with pytest.raises(UserError, match=r'The loss of stage layer\d is NaN or infinite since iteration \d+'):
        runner.train()
    for path in (tmp_path / 'run').glob('*.pth'):
        assert all(t.isfinite().all() for t in torch.load(path, weights_only=False)['state_dict'].values()), path


def test_a_forgotten_hook_is_told(distil):
    runner = distil()
    runner._hooks = [hook for hook in runner._hooks if type(hook).__name__ != 'StageScheduleHook']
    with pytest.raises(UserError, match=r"default_hooks = dict\(stages=dict\(type='mmkd.StageScheduleHook'\)\)"):
        runner.train()


def test_vectors_are_mimicked_where_they_are_named(distil, tmp_path):
    """The last stage is behind global pooling and has other widths; the head after it is the teacher's."""
    runner = distil(model=dict(pairs=[('layer2', 'layer2'), ('neck', 'neck')]))
    losses, step = [], runner.model.train_step
    runner.model.train_step = lambda data, optim_wrapper: losses.append(step(data, optim_wrapper)) or losses[-1]
    runner.train()
    mimic = [float(row['loss_mimic_neck']) for row in losses if 'loss_mimic_neck' in row]
    assert max(mimic) > 0  # with few images and many channels, the map fits everything at first
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert "The student's head is now the teacher's, times the maps between their features." in log.read_text()


@pytest.mark.parametrize('kind', ['mmkd.SSKD', 'mmkd.KD', 'mmkd.MHKD', 'mmkd.FeatureKD'])
def test_a_distiller_that_was_never_prepared_says_what_is_missing(distil, kind):
    model = distil(model=dict(type=kind)).model
    uses = [
        lambda: model(torch.zeros(2, 3, 16, 16), mode='loss'),
        lambda: model.enter(['layer1']),
        lambda: model.build_extras([('layer1',)]),
        lambda: model.speed_up(torch.zeros(2, 3, 16, 16)),
    ]
    for use in uses[: 2 if kind == 'mmkd.KD' else 4]:  # KD builds nothing for a phase
        with pytest.raises(UserError, match=r'nothing says which stage is learned; add .* tools/train.py does by'):
            use()


@pytest.mark.parametrize(
    ('mistake', 'said'),
    [
        ({'model.student.head.in_channels': 7}, 'RuntimeError: mat1 and mat2 shapes cannot be multiplied'),
        ({'model.student.head.loss': dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=3)}, 'Error: '),
    ],
)
def test_a_head_that_cannot_learn_is_told_before_the_first_stage(distil, mistake, said):
    runner = distil(**mistake)
    with pytest.raises(UserError, match=r'^model\.student: its own loss of the first training sample cannot') as caught:
        runner.train()
    assert said in str(caught.value)
    assert runner.iter == 0


def test_norms_are_folded_where_they_are_frozen_and_nowhere_else(distil):
    class Folded(Hook):
        seen: ClassVar = {}

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            norms = {n for n, m in runner.model.student.named_modules() if isinstance(m, nn.BatchNorm2d)}
            folded = {n for n in norms if 'forward' in vars(runner.model.student.get_submodule(n))}
            self.seen[runner.model.current] = folded, norms

    runner = distil()
    runner.register_hook(Folded())
    runner.train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in runner.model.teacher.network.modules())
    assert len(Folded.seen) == 5
    for (stage,), (folded, norms) in Folded.seen.items():
        learned = next(s for s in runner.model.plan if s.name == stage).modules
        assert folded == norms - set(learned), stage


def test_folded_norms_follow_loaded_and_swapped_weights(distil):
    runner = distil()
    runner.train()  # ends with the head phase, in which the whole backbone is frozen
    distiller = runner.model
    images = torch.rand(2, 3, 8, 8)

    def follows() -> bool:
        plain = copy.deepcopy(distiller.student)
        unfold(plain)
        plain.eval()
        with torch.no_grad():
            features = [network.extract_feat(images)[0] for network in (distiller.student, plain)]
        return torch.allclose(*features, rtol=1e-3)

    assert follows()
    distiller.load_state_dict({name: 0.9 * value for name, value in distiller.state_dict().items()})
    assert follows()
    for parameter in distiller.student.backbone.parameters():  # averaging does this
        parameter.data.copy_(parameter.data * 1.2)
    assert not follows()
    distiller.train(not distiller.training)
    assert follows()


def test_channels_last_is_that_of_all_networks(distil):
    runner = distil(model=dict(channels_last=True))
    runner.train()
    for network in (runner.model.student, runner.model.teacher.network):
        weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert weights
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
