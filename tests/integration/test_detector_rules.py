"""Rules of every distillation, on a one-stage and a two-stage detector that train for real."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmkd.errors import UserError
from tests.distil_detectors import in_two_processes, one_kind_quick

EVERY_STAGE = ['layer1', 'layer2', 'layer3', 'layer4', 'neck', 'head']


def bytes_of(network) -> dict[str, bytes]:
    """Parameters and buffers as bytes."""
    return {name: tensor.detach().numpy().tobytes() for name, tensor in network.state_dict().items()}


class Watch(Hook):
    """Records the bytes of student, extras and teacher at each stage's start and end."""

    priority = 6  # directly after the schedule

    def __init__(self):
        self.stages = []

    def before_train_epoch(self, runner):
        names = runner.model.current
        if not self.stages or self.stages[-1]['names'] != names:
            self.stages.append(dict(names=names, start=self.take(runner.model)))

    def after_train_epoch(self, runner):
        self.stages[-1]['end'] = self.take(runner.model)

    @staticmethod
    def take(distiller):
        return [bytes_of(part) for part in (distiller.student, distiller.extras, distiller.teacher.network)]


def plain_student(plain):
    """Build the detector of the student's own config without mmkd."""
    init_default_scope('mmdet')
    return MODELS.build(copy.deepcopy(plain.model))


def check_plain_checkpoint(file, runner, plain) -> None:
    """A checkpoint contains the student as it is, and loads into the detector of its own config."""
    weights = torch.load(file, weights_only=False)['state_dict']
    student = plain_student(plain)
    assert list(weights) == list(student.state_dict())
    student.load_state_dict(weights, strict=True)
    assert bytes_of(student) == bytes_of(runner.model.student)


def differences(a: dict, b: dict) -> set[str]:
    """Names of tensors that differ."""
    assert a.keys() == b.keys()
    return {name for name in a if a[name] != b[name]}


@pytest.fixture(scope='module')
def whole(distil, tmp_path_factory):
    """An uninterrupted run: folder, runner and records."""
    folder = tmp_path_factory.mktemp('whole')
    runner, watch = distil(folder), Watch()
    runner.register_hook(watch)
    runner.train()
    return folder, runner, watch


def test_only_the_stage_at_hand_changes_and_the_teacher_never_does(whole):
    _, runner, watch = whole
    student, plan = runner.model.student, runner.model.plan
    assert [record['names'] for record in watch.stages] == [('layer2',), ('neck',), ('head',)]
    parameters = dict(student.named_parameters())
    stages = {stage.name: stage for stage in plan}
    for record in watch.stages:
        stage = stages[record['names'][0]]
        (student_start, extras_start, _), (student_end, extras_end, teacher_end) = record['start'], record['end']
        changed = differences(student_start, student_end)
        assert changed & parameters.keys() == set(stage.parameters)
        assert {name.rpartition('.')[0] for name in changed - parameters.keys()} <= set(stage.modules)
        adapters = {name.split('.')[0] for name in differences(extras_start, extras_end)}
        assert adapters == ({stage.name} - {'head'})
        assert teacher_end == watch.stages[0]['start'][2]


def test_the_checkpoint_is_the_plain_detector(whole, plain):
    folder, runner, _ = whole
    check_plain_checkpoint(folder / 'epoch_6.pth', runner, plain)


@pytest.mark.parametrize('epoch', [1, 2, 4], ids=['middle of a stage', 'boundary', 'middle of the head'])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(whole, distil, tmp_path, epoch):
    folder, runner, _ = whole
    resumed = distil(tmp_path, resume=True, load_from=str(folder / f'epoch_{epoch}.pth'))
    resumed.train()
    assert resumed.epoch == 6
    assert bytes_of(resumed.model.student) == bytes_of(runner.model.student)


def test_the_head_with_everything_unfrozen_is_the_plain_training_to_the_last_bit(distil, plain, tmp_path):
    pipeline = copy.deepcopy(plain.train_dataloader.dataset.pipeline)
    pipeline[1:2] = [
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='CachedMosaic', img_scale=(64, 64), max_cached_images=8),  # remembers its input
    ]
    cfg = copy.deepcopy(plain)
    cfg.train_dataloader.dataset.pipeline = pipeline
    cfg.update(work_dir=str(tmp_path / 'plain'), experiment_name=f'{tmp_path.name}_plain')
    cfg.train_cfg.max_epochs = 3
    changes = {'train_dataloader.dataset.pipeline': pipeline, 'train_cfg.max_epochs': 3}
    hook = dict(stages=['head'], lengths=[3], unfreeze_last=True, score_teacher=True)
    alone = Runner.from_cfg(cfg)
    alone.train()
    distilled = distil(tmp_path / 'distilled', hook=hook, model=dict(weight=0), **changes)
    distilled.train()
    assert bytes_of(distilled.model.student) == bytes_of(alone.model)


class Average(Hook):
    """Computes the average of the parameters that EMAHook should hold; it begins anew in each stage."""

    def __init__(self, momentum: float):
        self.momentum = momentum
        self.mean = None
        self.stage = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        now = {name: p.detach().clone() for name, p in runner.model.student.named_parameters()}
        if self.stage != runner.model.current:
            self.stage, self.mean = runner.model.current, now
        self.mean = {name: mean.lerp(now[name], self.momentum) for name, mean in self.mean.items()}


def test_the_averaged_student_is_what_is_saved_and_resumed(distil, plain, tmp_path):
    changes = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1)])
    runner, average = distil(tmp_path / 'whole', **changes), Average(0.1)
    runner.register_hook(average)
    runner.train()
    distil(tmp_path / 'resumed', resume=True, load_from=str(tmp_path / 'whole' / 'epoch_3.pth'), **changes).train()
    saved, resumed = (torch.load(tmp_path / run / 'epoch_6.pth', weights_only=False) for run in ('whole', 'resumed'))
    plain_student(plain).load_state_dict(saved['state_dict'], strict=True)
    for name, mean in average.mean.items():
        torch.testing.assert_close(saved['state_dict'][name], mean)
    assert any(not torch.equal(mean, runner.model.student.state_dict()[name]) for name, mean in average.mean.items())
    for key in ('state_dict', 'ema_state_dict'):
        assert saved[key].keys() == resumed[key].keys()
        assert all(torch.equal(saved[key][name], resumed[key][name]) for name in saved[key]), key


def test_mixed_precision_in_every_stage(distil, tmp_path):
    runner, watch = distil(tmp_path, hook=dict(stages=EVERY_STAGE, lengths=[1] * 6)), Watch()
    runner.register_hook(watch)
    distiller, dtypes = runner.model, set()
    distiller.student.backbone.layer1.register_forward_hook(lambda *args: dtypes.add(args[-1].dtype))
    distiller.loss = torch.autocast('cpu', torch.bfloat16)(distiller.loss)
    runner.train()
    assert torch.bfloat16 in dtypes
    assert [record['names'] for record in watch.stages] == [(name,) for name in EVERY_STAGE]
    for record, stage in zip(watch.stages, distiller.plan):
        changed = differences(record['start'][0], record['end'][0])
        assert changed & dict(distiller.student.named_parameters()).keys() == set(stage.parameters)
    assert all(p.isfinite().all() for p in distiller.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested')
@one_kind_quick('FasterRCNN')  # test_detector_rules_mhkd takes the other kind
def test_two_processes_end_with_the_same_student(config_of, plain, tmp_path):
    cfg = config_of(
        tmp_path / 'run',
        hook=dict(lengths=[1, 1, 1]),
        **{
            'train_cfg': dict(by_epoch=True, max_epochs=3, val_interval=3),
        },
    )
    text = in_two_processes(cfg, tmp_path)
    assert [f'Stage {name} begins' in text for name in ('layer2', 'neck', 'head')] == [True] * 3
    first, second = (torch.load(tmp_path / 'run' / f'rank{rank}.pth') for rank in (0, 1))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    saved = torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=False)['state_dict']
    plain_student(plain).load_state_dict(saved, strict=True)
    assert all(torch.equal(saved[name], first[name]) for name in saved)


def test_what_the_students_config_freezes_stays_and_its_epochs_go_to_the_others(distil, plain, tmp_path):
    backbone = plain_student(plain).backbone
    for name, tensor in backbone.state_dict().items():
        if 'bn' in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=backbone.state_dict()), tmp_path / 'backbone.pth')
    changes = dict(frozen_stages=1, norm_eval=True)
    changes['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    changes = {f'model.student.backbone.{key}': value for key, value in changes.items()}
    changes['train_cfg'] = dict(by_epoch=True, max_epochs=8, val_interval=8)
    runner, watch = distil(tmp_path / 'run', hook=dict(stages=None, lengths=None), **changes), Watch()
    runner.register_hook(watch)
    runner.train()
    assert [record['names'] for record in watch.stages] == [(name,) for name in EVERY_STAGE[1:]]
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert text.count("is frozen by the student's config") == 1
    assert 'Schedule in epochs: layer2 1, layer3 1, layer4 1, neck 1, head 4\n' in text
    given, own = bytes_of(backbone), bytes_of(runner.model.student.backbone)
    frozen = {name for name in given if name.startswith(('conv1.', 'bn1.', 'layer1.'))}
    statistics = {name for name in given if 'running' in name or 'num_batches' in name}  # norm_eval
    assert differences(given, own) == given.keys() - frozen - statistics


def test_random_weights_that_stay_are_refused(distil, tmp_path):
    runner = distil(tmp_path, **{f'model.student.backbone.{key}': 1 for key in ('norm_eval', 'frozen_stages')})
    with pytest.raises(UserError, match=r'model\.student\.backbone: .* set norm_eval=False and frozen_stages=-1'):
        runner.train()
