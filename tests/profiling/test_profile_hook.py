"""Small trainings in which one part after the other is made slow."""

import copy
import gzip
import json
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner

from mmkd.errors import UserError
from mmkd.hooks import ProfileHook
from mmkd.profiling.table import ORDER, Part
from tests.distil import in_place

NAP = 0.2  # in seconds; much more than any part of these networks needs


def tables(runner: Runner) -> dict[str, dict[str, float]]:
    """Seconds per iteration of each part, by stage in the log; '' stands for the plain training."""
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    found = {}
    title = r'Profile of \d+ iterations?(?: of stage (\S+))?: [^\n]* images/s\.\n'
    for stage, body in re.findall(title + r'(.*?  all [^\n]*)', log, re.S):
        rows = re.findall(r'^  (\S.*?) {2,}(\d\.\d+) +[\d.]+$', body, re.M)
        found[stage] = {name: float(seconds) for name, seconds in rows}
    return found


class Naps(Hook):
    """Adds another delay to every part, once in each profiled iteration."""

    def __init__(self, monkeypatch):
        self.patch = monkeypatch
        self.profile = None

    def nap(self, *args):
        if self.profile.profiler is not None and self.profile.seen >= 3:
            time.sleep(NAP)

    def slow(self, holder, name):
        call = getattr(holder, name)
        self.patch.setattr(holder, name, lambda *args, **kwargs: (self.nap(), call(*args, **kwargs))[1])

    def before_train(self, runner):
        self.profile = next(hook for hook in runner.hooks if isinstance(hook, ProfileHook))
        model = runner.model
        student = getattr(model, 'student', model)
        self.slow(torch.optim.SGD, 'zero_grad')
        self.slow(student.data_preprocessor, 'forward')
        self.slow(runner.train_dataloader, 'collate_fn')
        self.slow(runner.val_loop.evaluator, 'process')
        self.slow(student.backbone.layer1[0], 'forward')
        self.slow(student.backbone.layer4[1].drop_path, 'forward')  # without a parameter, but gradients pass through it
        run = student.backbone.layer4[0].forward

        def forward(x):
            output = run(x)
            output.register_hook(self.nap) if output.requires_grad else None
            return output

        self.patch.setattr(student.backbone.layer4[0], 'forward', forward)
        if student is model:
            self.slow(student.head.loss_module, 'forward')
            return
        self.slow(model.teacher.network.backbone.layer2[0], 'forward')
        for name, loss in model.extras.items():
            if name.endswith('_loss') and name not in ('feature_loss', 'head_soft_loss'):
                self.slow(loss, 'forward')

    def after_train_iter(self, *args, **kwargs):
        self.nap()


def check_naps(rows: dict[str, float], parts: list[str]) -> None:
    """Each part's time contains its own delay: one that went elsewhere is missed, however busy the machine."""
    assert [part for part in ORDER if part in rows] == parts
    for part in parts:
        assert rows[part] >= NAP, (part, rows)
    assert rows['all'] == pytest.approx(sum(rows[part] for part in parts), abs=1e-4)


PROFILE = {'default_hooks.profile': dict(type='mmkd.ProfileHook', iterations=1)}
LAST_STAGE = dict(stages=['layer4', 'head'], lengths=[6, 2], score_teacher=False)


def test_work_shows_up_in_its_part_of_a_stage(distil, monkeypatch):
    runner = distil(hook=LAST_STAGE, **PROFILE)
    runner.register_hook(Naps(monkeypatch))
    runner.train()
    found = tables(runner)
    assert list(found) == ['layer4', 'head']
    check_naps(found['layer4'], ORDER)
    head = found['head']  # the whole backbone is frozen now: no teacher, no gradient before the head
    assert Part.TEACHER not in head
    assert head[Part.FROZEN] >= 2 * NAP
    assert all(head[part] < head[Part.FROZEN] for part in (Part.TRAINED, Part.LOSSES, Part.BACKWARD))


@pytest.mark.parametrize(
    'model', [dict(type='mmkd.KD'), dict(type='mmkd.MHKD', heads=dict(type='mmkd.AuxiliaryHead', width=8))]
)
def test_work_shows_up_in_its_part_of_other_methods(distil, monkeypatch, model):
    hook = dict(stages=[['layer4', 'head']], lengths=[8], score_teacher=False)
    runner = distil(hook=hook, model=model, **PROFILE)
    runner.register_hook(Naps(monkeypatch))
    runner.train()
    [rows] = tables(runner).values()
    check_naps(rows, ORDER)


@pytest.mark.parametrize('model', [dict(type='mmkd.FeatureKD'), dict(type='mmkd.SSKD', alpha=1.0)])
def test_methods_that_may_compare_scores(distil, model):
    runner = distil(hook=dict(stages=['all'], lengths=[8], score_teacher=False), model=model, **PROFILE)
    runner.train()
    [rows] = tables(runner).values()
    assert {Part.TEACHER, Part.TRAINED, Part.LOSSES, Part.BACKWARD} <= rows.keys()


def test_work_shows_up_in_its_part_of_a_plain_training(plain, tmp_path, monkeypatch):
    cfg = in_place(copy.deepcopy(plain), tmp_path / 'run', **PROFILE)
    cfg.model.backbone.frozen_stages = 1
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Naps(monkeypatch))
    runner.train()
    [rows] = tables(runner).values()
    check_naps(rows, [part for part in ORDER if part != Part.TEACHER])


def test_the_training_is_the_same_and_the_timeline_is_whole(distil):
    plain = distil('plain', hook=LAST_STAGE)
    plain.train()
    runner = distil('profiled', hook=LAST_STAGE, **PROFILE)
    runner.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, runner.model.state_dict()[name]), name
    for name, module in runner.model.named_modules():  # nothing of the profiler remains
        assert 'Ranges' not in getattr(vars(module).get('forward'), '__qualname__', ''), name
    assert 'parse_losses' not in vars(runner.model)
    assert 'save_checkpoint' not in vars(runner)
    for stage, rows in tables(runner).items():
        trace = gzip.decompress(Path(runner.work_dir, f'profile_{stage}.json.gz').read_bytes())
        events = json.loads(trace)['traceEvents']
        [step] = [event['dur'] for event in events if event.get('name', '').startswith('ProfilerStep#')]
        assert rows['all'] == pytest.approx(step / 1e6, rel=1e-3, abs=1e-5)  # the table has five decimals


def iterations(max_iters: int, profiled: int) -> dict:
    """Changes for an iteration loop that validates and saves after each iteration."""
    return {
        'train_cfg': dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1),
        'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
        'param_scheduler': None,
        'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=1),
        'default_hooks.profile': dict(type='mmkd.ProfileHook', iterations=profiled),
    }


def test_validation_and_saving_in_between_are_not_counted(distil, monkeypatch):
    hook = dict(stages=['layer4', 'head'], lengths=[5, 5], score_teacher=False)
    runner = distil(hook=hook, **iterations(10, profiled=2))
    naps = Naps(monkeypatch)
    runner.register_hook(naps)
    naps.slow(runner, 'save_checkpoint')
    runner.train()
    found = tables(runner)
    check_naps(found['layer4'], ORDER)
    assert found['head'][Part.REST] < 2 * NAP
    assert found['head'][Part.PREPROCESSING] < 2 * NAP


def test_a_resumed_run_profiles_the_stages_that_are_left(distil, tmp_path):
    hook = dict(stages=['layer4', 'head'], lengths=[5, 5], score_teacher=False)
    distil('first', hook=hook, **iterations(10, profiled=2)).train()
    saved = dict(resume=True, load_from=str(tmp_path / 'first' / 'iter_1.pth'))
    runner = distil(hook=hook, **iterations(10, profiled=2), **saved)
    runner.train()
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'Profile of 2 iterations of stage layer4: not enough iterations are left in it, 4.' in log
    assert list(tables(runner)) == ['head']


def test_mixed_precision(distil, monkeypatch):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1))
    runner = distil(hook=LAST_STAGE, optim_wrapper=wrapper, **PROFILE)
    runner.train()
    assert set(tables(runner)['layer4']) == {*ORDER, 'all'}


def test_more_iterations_than_a_stage_has(distil):
    profile = {'default_hooks.profile': dict(type='mmkd.ProfileHook', iterations=6)}
    with pytest.raises(UserError) as caught:
        distil(hook=LAST_STAGE, **profile).train()
    assert str(caught.value) == (
        '--profile: 6 iterations after 3 to warm up are more than the 8 of stage head; take 5 at most.'
    )


def test_a_training_that_is_too_short(plain, tmp_path):
    cfg = in_place(copy.deepcopy(plain), tmp_path / 'run', **PROFILE)
    cfg.train_dataloader.dataset.indices = 32
    cfg.train_cfg.max_epochs = 1
    with pytest.raises(UserError, match=r'are more than the 2 of the training; leave it out\.$'):
        Runner.from_cfg(cfg).train()


class Leave(Hook):
    """Ends the training early, as mmengine's EarlyStoppingHook does."""

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = True


def test_other_processes_than_the_first_profile_nothing(plain, tmp_path, monkeypatch):
    monkeypatch.setattr('mmkd.profiling.hook.is_main_process', lambda: False)
    cfg = in_place(copy.deepcopy(plain), tmp_path / 'run', **PROFILE)
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert tables(runner) == {}
    assert not list(tmp_path.rglob('profile*.gz'))


def test_a_training_that_ends_early(plain, tmp_path):
    profile = {'default_hooks.profile': dict(type='mmkd.ProfileHook', iterations=4)}
    runner = Runner.from_cfg(in_place(copy.deepcopy(plain), tmp_path / 'run', **profile))
    runner.register_hook(Leave())
    runner.train()
    assert tables(runner) == {}
    assert 'forward' not in vars(runner.model)
