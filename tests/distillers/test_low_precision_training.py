"""Trainings with frozen parts in 16 bits: trained parts, metrics and checkpoints stay in float32."""

from functools import partial

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn

from tests.distil import HEADS

HALF, FULL = torch.bfloat16, torch.float32
ON = dict(frozen_dtype='bfloat16')
STAGES = {'layer1', 'layer2', 'layer3', 'layer4'}


class Watch(Hook):
    """By the trained stages: dtypes of convolutions and linear layers, dtypes for extras, losses, gradients."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = {}
        self.losses = []

    def before_train(self, runner):
        distiller = runner.model
        for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    place = next((layer for layer in sorted(STAGES) if layer in name), 'stem')
                    place = 'head' if name.startswith('head') else place
                    module.register_forward_hook(partial(self.see, distiller, f'{whose} {place}'))
        for module in distiller.extras.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(partial(self.see, distiller, 'extras'))

    def before_train_epoch(self, runner):
        for parameter in runner.model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(partial(self.see_gradient, runner.model))

    def see(self, distiller, what, module, args, output):
        now = self.seen.setdefault(distiller.current if distiller.training else 'validation', {})
        now.setdefault(what, set()).update({output.dtype} | ({args[0].dtype} if what == 'extras' else set()))

    def see_gradient(self, distiller, gradient):
        self.seen[distiller.current].setdefault('gradients', set()).add(gradient.dtype)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        now = self.seen[runner.model.current]
        now.setdefault('losses', set()).update(value.dtype for name, value in outputs.items() if 'loss' in name)
        self.losses.append(outputs['loss'].item())


def train(runner) -> Watch:
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return watch


def same(own: dict, other: dict) -> bool:
    return list(own) == list(other) and all(
        own[name].dtype == other[name].dtype and torch.equal(own[name], other[name]) for name in own
    )


def test_what_is_frozen_runs_so_in_each_stage_and_all_else_in_full(distil, plain):
    runner = distil(model=dict(channels_last=True, **ON))
    seen = train(runner).seen
    names = ['stem', *sorted(STAGES), 'head']
    for stage in [*sorted(STAGES), 'head']:
        now = seen[stage,]
        behind = names.index(stage)
        expected = {f'student {name}': {HALF} for name in names[:behind]} | {f'student {stage}': {FULL}}
        if stage == 'layer1':  # the stem is trained with it
            expected['student stem'] = {FULL}
        if stage != 'head':
            expected |= {f'teacher {name}': {HALF} for name in names[: behind + 1]}
        assert now == expected | {'losses': {FULL}, 'gradients': {FULL}}
    assert all(dtypes == {FULL} for dtypes in seen['validation'].values())
    assert 'teacher layer4' in seen['validation']  # the teacher's score, and the mimic loss
    assert {p.dtype for p in runner.model.parameters()} == {FULL}
    saved = torch.load(f'{runner.work_dir}/epoch_8.pth', weights_only=False)['state_dict']
    from mmpretrain import get_model

    expected = get_model(plain, pretrained=False).state_dict()
    assert {name: tensor.dtype for name, tensor in saved.items()} == {n: tensor.dtype for n, tensor in expected.items()}


@pytest.mark.parametrize(('method', 'extras'), [('KD', False), ('MHKD', True)])
def test_the_teacher_runs_so_and_the_student_that_learns_in_full(method, extras, distil):
    options = dict(heads=HEADS) if extras else {}
    seen = train(distil(model=dict(type=f'mmkd.{method}', **options, **ON), **{'train_cfg.max_epochs': 1})).seen
    (now,) = (dtypes for names, dtypes in seen.items() if 'head' in names)
    whole = ['stem', *sorted(STAGES), 'head']
    expected = {f'teacher {name}': {HALF} for name in whole} | {f'student {name}': {FULL} for name in whole}
    assert now == expected | ({'extras': {FULL}} if extras else {}) | {'losses': {FULL}, 'gradients': {FULL}}
    assert all(dtypes == {FULL} for dtypes in seen['validation'].values())


def test_heads_on_a_frozen_backbone_get_its_features_in_full(distil):
    hook = dict(stages=['layer1', 'head'], lengths=[1, 1], score_teacher=False)
    model = dict(type='mmkd.MHKD', heads=HEADS, attach=['layer2', 'backbone.layer3.0'], **ON)
    seen = train(distil(hook=hook, model=model, **{'train_cfg.max_epochs': 2})).seen[('head',)]
    assert seen['extras'] == {FULL}
    assert all(seen[f'{whose} {layer}'] == {HALF} for whose in ('student', 'teacher') for layer in STAGES)


def test_validation_and_the_teachers_score_are_the_same_to_the_last_bit(distil, tmp_path):
    scores, outputs, measured, training = [], [], [], []

    class Stop(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            distiller = runner.model
            data = distiller.data_preprocessor(data_batch, False)
            inputs, samples = data['inputs'], data['data_samples']
            distiller.enter(('layer3',))
            with torch.no_grad():
                distiller.eval()
                measured.append(distiller.measure(inputs, samples)['mimic_loss'])
                outputs.append(distiller(inputs, samples, mode='tensor'))
                distiller.train()  # this comes last, since it changes the statistics of layer3
                training.append(distiller.loss(inputs, samples)['loss_mimic_layer3'])
            raise KeyboardInterrupt

    for name, model in (('plain', {}), ('half', ON)):
        runner = distil(name, model=model)
        runner.register_hook(Stop(), priority='LOWEST')
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        log = ''.join(file.read_text() for file in (tmp_path / runner.work_dir).glob('*/*.log'))
        scores.append([line.partition('The teacher')[2] for line in log.splitlines() if "The teacher's own" in line])
    assert scores[0] == scores[1] != []
    assert torch.equal(*measured)
    assert torch.equal(*outputs)
    assert not torch.equal(*training)
    assert float(training[0]) == pytest.approx(float(training[1]), rel=0.02)


def test_a_run_is_the_same_when_it_is_resumed_with_averages(distil):
    changes = {'custom_hooks': [dict(type='EMAHook', momentum=0.5)], 'train_dataloader.batch_size': 24}
    changes['default_hooks.checkpoint'] = dict(type='CheckpointHook', interval=1, save_optimizer=True)
    whole = distil('whole', hook=dict(keep_best=True), model=ON, **changes)
    expected = train(whole).losses
    resumed = distil('resumed', hook=dict(keep_best=True), model=ON, **changes)
    resumed._load_from, resumed._resume = f'{whole.work_dir}/epoch_3.pth', True
    found = train(resumed).losses
    assert found == expected[-len(found) :]
    assert len(found) == len(expected) * 5 // 8
    assert same(resumed.model.student.state_dict(), whole.model.student.state_dict())


def test_under_mixed_precision_nothing_changes(distil, monkeypatch):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    amp = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.05), dtype='bfloat16')
    plain = distil('plain', optim_wrapper=amp)
    expected = train(plain).losses
    half = distil('half', model=ON, optim_wrapper=amp)
    assert train(half).losses == expected
    assert same(half.model.student.state_dict(), plain.model.student.state_dict())


def test_compiled_it_is_the_same(distil):
    torch.compiler.reset()
    hook, short = dict(stages=['layer2', 'head'], score_teacher=False), {'train_cfg.max_epochs': 2}
    plain = distil('plain', hook, ON, **short)
    expected = train(plain).losses
    compiled = distil('compiled', hook, dict(compile=dict(backend='eager'), **ON), **short)
    assert train(compiled).losses == expected
    assert same(compiled.model.student.state_dict(), plain.model.student.state_dict())
    torch.compiler.reset()
