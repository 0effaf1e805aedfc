"""A head trained on kept features has the same weights as one trained on images, and no file is used for other data."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections import Counter, namedtuple
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import FUNCTIONS, HOOKS, MODELS
from mmpretrain.engine.hooks import SwitchRecipeHook
from torch import nn
from torch.utils.data import BatchSampler

from mmkd.errors import UserError
from mmkd.feature_cache.file import RowFile, Views
from mmkd.hooks import FeatureCacheHook
from mmkd.utils import locks
from tests.conftest import ROOT
from tests.toy import bytes_of, toy_runner

STAGES = dict(stages=['layer4', 'head'], lengths=[1, 3], score_teacher=False)
SHORT = {'train_cfg.max_epochs': 4, 'train_dataloader.dataset.indices': 32}
PLAIN_PIPELINE = [dict(type='Resize', scale=16), dict(type='PackInputs')]
PIPELINE = 'train_dataloader.dataset.pipeline'
CACHE, SAVE, LEAVE = (f'default_hooks.{name}' for name in ('cache', 'checkpoint', 'preemption'))
SAFE = {SAVE: dict(type='mmkd.SafeCheckpointHook', interval=100), LEAVE: dict(type='mmkd.PreemptionHook')}


def cache(views: int = 1, **options) -> dict:
    return {CACHE: dict(type='mmkd.FeatureCacheHook', views=views, **options)}


class Watch(Hook):
    """Losses, calls of the backbone in the head's iterations, and the time of the cache file."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.calls, self.handle = [], Counter(), None

    def before_train(self, runner):
        runner.model.student.backbone.register_forward_pre_hook(lambda *_: self.calls.update([self.when(runner)]))

    def when(self, runner) -> str:
        return f'{"train" if torch.is_grad_enabled() else "other"} {"+".join(runner.model.current)}'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.model.learns_head:
            self.losses.append(outputs['loss'].item())


def trained(distil, name='run', watch=None, hook=STAGES, **changes):
    runner = distil(name, hook=hook, **{**SHORT, **changes})
    runner.register_hook(watch or Watch())
    runner.train()
    return runner


def log(work_dir: Path) -> str:
    return ''.join(file.read_text() for file in sorted(work_dir.glob('*/*.log')))


def files(work_dir: Path) -> list[str]:
    return sorted(path.name for path in (work_dir / 'feature_cache').glob('features-*'))


def test_without_chance_it_is_the_same_training(distil, tmp_path):
    watches = Watch(), Watch()
    whole = trained(distil, 'whole', watches[0], **{PIPELINE: PLAIN_PIPELINE})
    kept = trained(distil, 'kept', watches[1], **{PIPELINE: PLAIN_PIPELINE}, **cache())
    assert watches[0].calls['train head'] == 6
    assert watches[1].calls['train head'] == 0
    assert watches[1].calls['other head'] == watches[0].calls['other head'] + 2  # while filling; validation uses images
    assert watches[1].losses == watches[0].losses
    assert bytes_of(kept) == bytes_of(whole)
    scores = [runner.message_hub.get_scalar('val/accuracy/top1').data[0].tolist() for runner in (whole, kept)]
    assert scores[0] == scores[1]
    assert isinstance(kept.train_dataloader.dataset[0]['inputs'], torch.Tensor)  # images again
    assert 'forward' not in vars(kept.model.data_preprocessor)
    assert 'extract_feat' not in vars(kept.model.student)
    text = log(tmp_path / 'kept')
    assert 'Feature cache: 1 view of 32 images will take 8.6 kB (268 bytes each)' in text
    assert 'Feature cache: filled in' in text
    assert 'Stage head ends: 6 iterations' in text


def test_each_view_has_the_loss_of_its_image(distil, tmp_path):
    runner = trained(distil, **cache(2), **{'randomness': dict(seed=5)})
    rows = RowFile(tmp_path / 'run' / 'feature_cache' / files(tmp_path / 'run')[0], 2, 32, 264)
    assert rows.is_whole()
    loader, model = rows.loader(runner.train_dataloader), runner.model
    views = Views(runner.train_dataloader.dataset, range(32), 5)
    images = [views[number] for number in (7, 32 + 7, 32 + 20)]
    batch = model.data_preprocessor(runner.train_dataloader.collate_fn(images), True)
    packed = torch.from_numpy(loader.dataset.rows[[0, 1, 1], [7, 7, 20]])
    format_ = next(hook for hook in runner.hooks if isinstance(hook, FeatureCacheHook)).rows
    (feature,), samples = format_.unpack(packed)
    model.train()
    with torch.no_grad():
        (expected,) = model.student.extract_feat(batch['inputs'])
        losses = [model.student.head.loss((x,), y) for x, y in ((feature, samples), (expected, batch['data_samples']))]
    assert torch.allclose(feature, expected, rtol=1e-4, atol=1e-6)  # a batch of 3 instead of 16
    assert torch.allclose(losses[0]['loss'], losses[1]['loss'], rtol=1e-5)
    assert [int(sample.gt_label) for sample in samples] == [int(image['data_samples'].gt_label) for image in images]
    assert not torch.allclose(feature[0], feature[1])
    assert not torch.allclose(feature[1], feature[2])


def test_every_view_is_drawn_and_each_epoch_anew(distil):
    seen = []

    class Drawn(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.model.learns_head:
                seen.append(frozenset(map(bytes, data_batch['inputs'].numpy())))

    runner = distil(hook=STAGES, **cache(2), **SHORT)
    runner.register_hook(Drawn())
    runner.train()
    epochs = [frozenset().union(*seen[i : i + 2]) for i in range(0, 6, 2)]
    assert {len(epoch) for epoch in epochs} == {32}
    assert len(set(epochs)) == 3
    assert len(frozenset().union(*epochs)) > 45  # some of the 64 rows are equal


class Stop(Exception):
    pass


class StopAt(Hook):
    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.epoch == self.epoch:
            raise Stop


def stopped(distil, epoch=2, name='run', **changes):
    """A run that ends within an epoch and logs nothing about it."""
    with pytest.raises(Stop):
        trained(distil, name, StopAt(epoch), **changes)


@pytest.mark.parametrize(('seed', 'epoch'), [(0, 1), (0, 2), (None, 2)])
def test_a_resumed_run_ends_as_the_whole_one_and_uses_the_file_again(distil, tmp_path, seed, epoch):
    changes = {'randomness': dict(seed=seed), **cache(2)}
    stopped(distil, epoch, **changes)
    (file,) = files(tmp_path / 'run')
    runner = trained(distil, resume=True, **changes)
    assert log(tmp_path / 'run').count('Feature cache: filled in') == 1
    assert f'{file} holds the features of these weights and data; it is used.' in log(tmp_path / 'run')
    if seed is not None:
        assert bytes_of(runner) == bytes_of(trained(distil, 'whole', **changes))


def test_a_signal_while_it_is_filled(distil, tmp_path, monkeypatch):
    changes = {**SAFE, **cache(2)}
    whole = trained(distil, 'whole', **changes)
    write, writes = RowFile.write, []

    def signalled(*args):
        write(*args)
        writes.append(1)
        if len(writes) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RowFile, 'write', signalled)
        with pytest.raises(SystemExit) as stop:
            trained(distil, **changes)
    assert (stop.value.code, len(writes)) == (143, 3)
    assert Path((tmp_path / 'run' / 'last_checkpoint').read_text()).name == 'interrupted.pth'
    (partial,) = files(tmp_path / 'run')
    assert partial.endswith('.mmkd-partial')
    resumed = trained(distil, resume=True, **changes)
    assert files(tmp_path / 'run') == files(tmp_path / 'whole')
    assert 'is of other weights' not in log(tmp_path / 'run')
    assert bytes_of(resumed) == bytes_of(whole)


class Changed(Hook):
    """The weights differ from those with which the file was made."""

    def __init__(self, change):
        self.change = change

    def before_train(self, runner):
        with torch.no_grad():
            self.change(runner.model.student.backbone, runner.train_dataloader)


CHANGES = {
    'nothing': lambda backbone, loader: None,
    'weights': lambda backbone, loader: backbone.conv1.weight.mul_(1.5),
    'means': lambda backbone, loader: backbone.layer4[1].bn2.running_mean.add_(0.5),
    'variances': lambda backbone, loader: backbone.layer4[1].bn2.running_var.mul_(1.5),
    'data': lambda backbone, loader: loader.dataset.images.__setitem__(3, 0),
    'seed': lambda backbone, loader: setattr(loader.sampler, 'seed', loader.sampler.seed + 1),
    'pipeline': lambda backbone, loader: None,
}


@pytest.mark.parametrize('what', CHANGES)
def test_what_makes_the_file_another_one(distil, tmp_path, what):
    stopped(distil, **cache(2))
    (old,) = files(tmp_path / 'run')
    changes = {PIPELINE: PLAIN_PIPELINE} if what == 'pipeline' else {}
    runner = distil(hook=STAGES, resume=True, **cache(2), **changes, **SHORT)
    runner.register_hook(Changed(CHANGES[what]))
    runner.train()
    new = files(tmp_path / 'run')
    assert len(new) == 1
    assert (new == [old]) == (what == 'nothing')
    said = f'{old} is of other weights, data or settings; it is computed again.'
    assert (said in log(tmp_path / 'run')) == (what != 'nothing')


def cut_off(content: bytearray) -> None:
    del content[1000:]


def zero(content: bytearray) -> None:
    content[3 * 264 : 5 * 264] = bytes(2 * 264)


def relabel(content: bytearray) -> None:
    content[20 * 264 - 1] ^= 1  # the highest byte of the label


@pytest.mark.parametrize(('damage', 'workers'), [(cut_off, 0), (cut_off, 2), (zero, 0), (relabel, 0)])
def test_a_damaged_file_is_made_anew_whoever_makes_it(distil, tmp_path, damage, workers):
    stopped(distil, **cache(2))
    (file,) = (tmp_path / 'run' / 'feature_cache').glob('features-*')
    content = file.read_bytes()
    damaged = bytearray(content)
    damage(damaged)
    file.write_bytes(damaged)
    trained(distil, resume=True, **cache(2), **{'train_dataloader.num_workers': workers})
    assert file.read_bytes() == content
    assert f'{file} is damaged; it is computed again.' in log(tmp_path / 'run')


HOLDER = """
import sys, time
from mmkd.utils.locks import hold
hold(sys.argv[1], 'key', 'cure')
print('held', flush=True)
time.sleep(60)
"""


def test_another_run_at_work_in_the_folder(distil, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'PATIENCE', 0)
    shared = tmp_path / 'shared'
    shared.mkdir()
    other = subprocess.Popen([sys.executable, '-c', HOLDER, shared], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert other.stdout.readline() == 'held\n'
        said = rf'FeatureCacheHook\.dir: another training \(process {other.pid} on .*\) is at work in .*shared; wait'
        with pytest.raises(UserError, match=said):
            trained(distil, **cache(2, dir=str(shared)))
    finally:
        other.kill()
        other.wait(20)
    assert not list(shared.glob('features-*'))
    trained(distil, 'again', **cache(2, dir=str(shared)))  # the lock ended with its process


def test_averages_and_a_later_stage(distil, tmp_path):
    hook = dict(STAGES, stages=['head', 'layer4'], lengths=[3, 1])
    runner = trained(distil, hook=hook, custom_hooks=[dict(type='EMAHook')], **cache(2))
    assert 'Feature cache: filled in' in log(tmp_path / 'run')
    assert 'extract_feat' not in vars(runner.model.student)
    assert runner.model.current == ('layer4',)


def test_profiled(distil, tmp_path):
    profile = {'default_hooks.profile': dict(type='mmkd.ProfileHook', iterations=2)}
    longer = {'train_dataloader.dataset.indices': 64}
    trained(distil, hook=dict(STAGES, lengths=[2, 2]), **cache(), **profile, **longer)
    assert (tmp_path / 'run' / 'profile_head.json.gz').exists()


class DroppingNeck(nn.Module):
    def forward(self, inputs):
        return tuple(nn.functional.dropout(x.mean((2, 3)), 0.5, self.training) for x in inputs)


MODELS.register_module('DroppingNeck', module=DroppingNeck)
SMOOTH = dict(type='LabelSmoothLoss', label_smooth_val=0.1)
GROUP_NORM = {'model.student.backbone.norm_cfg': dict(type='GN', num_groups=4)}
MIXUP = dict(augments=[dict(type='Mixup', alpha=0.2)])
SWITCH = dict(type='mmpretrain.SwitchRecipeHook', schedule=[dict(action_epoch=3, batch_augments=None)])


@HOOKS.register_module()
class OwnSwitch(SwitchRecipeHook):
    pass


@FUNCTIONS.register_module()
def mixed(batch):
    batch = pseudo_collate(batch)
    batch['inputs'] = [(a // 2 + b // 2) for a, b in zip(batch['inputs'], batch['inputs'][::-1])]
    return batch


REFUSED = {
    'iterations': (
        {'train_cfg': dict(by_epoch=False, max_iters=16), 'param_scheduler': None},
        {},
        'train_cfg counts iterations',
    ),
    'lengths': (
        {},
        dict(stages=['layer4', 'head'], lengths=[7, 9]),  # of 16 iterations
        'default_hooks.stages.lengths counts iterations',
    ),
    'mixup': (
        {'model.student.train_cfg': MIXUP, 'model.student.head.loss': SMOOTH},
        {},
        'model.student.train_cfg.augments mixes the images',
    ),
    'KD': ({'model': dict(type='mmkd.KD')}, {}, 'KD shows the teacher the images while the head learns'),
    'FeatureKD': (
        {'model': dict(type='mmkd.FeatureKD')},
        dict(stages=['layer1', 'all']),
        'head is never learned alone',
    ),
    'SSKD with soft targets': (
        {'model': dict(type='mmkd.SSKD', alpha=0.5)},
        {},
        'SSKD shows the teacher the images while the head learns',
    ),
    'MHKD': ({'model': dict(type='mmkd.MHKD')}, dict(stages=['layer1', 'head']), 'MHKD shows the teacher the images'),
    'all': ({}, dict(stages=['layer1', 'all']), 'head is never learned alone (Schedule in epochs: layer1 4, all 4)'),
    'unfreeze_last': ({}, dict(unfreeze_last=True), 'head is never learned alone'),
    'switch': ({'custom_hooks': [SWITCH]}, {}, 'SwitchRecipeHook changes the pipeline during training'),
    'a switch of their own': (
        {'custom_hooks': [dict(SWITCH, type='mmengine.OwnSwitch')]},
        {},
        'SwitchRecipeHook changes',
    ),
    'collate': (
        {'train_dataloader.collate_fn': dict(type='mixed')},
        {},
        'leave train_dataloader.collate_fn or the hook out',
    ),
    'cut': ({'model': dict(pairs=[('layer3', 'layer3')]), **GROUP_NORM}, {}, 'change while the head learns'),
    'dropout': (
        {'model.student.neck': dict(type='mmengine.DroppingNeck')},
        {},
        'differ between training and evaluation',
    ),
    'batches': (
        {
            'train_dataloader.batch_sampler': dict(type=BatchSampler, drop_last=False),
            'train_dataloader.batch_size': 16,
        },
        {},
        'it does not support train_dataloader.batch_sampler',
    ),
    'dir': (cache(dir='/proc/none'), {}, 'FeatureCacheHook.dir: /proc/none cannot be written'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused_before_the_first_stage(distil, case):
    changes, hook, said = REFUSED[case]
    with pytest.raises(UserError, match=re.escape(said)) as refusal:
        trained(distil, hook=dict(score_teacher=False, **hook), **{**cache(), 'train_cfg.max_epochs': 8, **changes})
    assert str(refusal.value).startswith('mmkd.FeatureCacheHook')
    assert str(refusal.value).count('.\n') == 0


@pytest.mark.parametrize('options', [dict(views=0), dict(views=1.5), dict(views=True), dict(dir=3), dict(dir='')])
def test_options_that_are_none(options):
    with pytest.raises(UserError, match=f'^mmkd.FeatureCacheHook.{next(iter(options))}: it must be'):
        FeatureCacheHook(**options)


def test_without_a_distiller(tmp_path):
    hook = FeatureCacheHook()
    runner = toy_runner(tmp_path / 'run')
    runner.register_hook(hook)
    with pytest.raises(UserError, match='needs a distiller and its schedule'):
        runner.train()


def test_as_many_views_as_epochs_gain_nothing(distil, tmp_path):
    trained(distil, **cache(3))
    assert '3 views of each image cost as much as the 3 epochs of head, so no features are cached' in log(
        tmp_path / 'run'
    )
    assert not (tmp_path / 'run' / 'feature_cache').exists()


def test_too_little_room_at_the_start(distil, tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: namedtuple('Usage', 'free')(10_000))
    with pytest.raises(UserError, match=r'need 17.2 kB more in .*feature_cache, and 10.0 kB are free; make room'):
        trained(distil, **cache(2))
    trained(distil, **cache(1))


def test_a_disk_that_is_full_in_the_end(distil, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, 'posix_fallocate', full)
        with pytest.raises(UserError, match=r'17.2 kB cannot be reserved in .*No space left on device.; make room'):
            trained(distil, **SAFE, **cache(2))
    assert files(tmp_path / 'run') == []
    whole = trained(distil, 'whole', **cache(2))
    stopped(distil, 0, 'other', **cache(2))
    assert bytes_of(trained(distil, 'other', resume=True, **cache(2))) == bytes_of(whole)


def test_images_of_different_sizes(distil, tmp_path):
    class Sizes(Hook):
        priority = 'VERY_HIGH'

        def before_train(self, runner):
            dataset = runner.train_dataloader.dataset
            plain = dataset.pipeline
            dataset.pipeline = lambda info: self.larger(plain(info), info['sample_idx'])

        def larger(self, packed, index):
            if index == 20:
                packed['inputs'] = packed['inputs'].repeat(1, 2, 2)
            return packed

    runner = distil(hook=STAGES, **cache(), **SHORT, **{'train_dataloader.collate_fn': dict(type='pseudo_collate')})
    runner.register_hook(Sizes())
    with pytest.raises(UserError, match='the training images differ in size'):
        runner.train()


def test_mixed_precision(distil, tmp_path, monkeypatch):
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    amp = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.05), dtype='bfloat16')
    watches = Watch(), Watch()
    whole = trained(distil, 'whole', watches[0], optim_wrapper=amp, **{PIPELINE: PLAIN_PIPELINE})
    kept = trained(distil, 'kept', watches[1], optim_wrapper=amp, **{PIPELINE: PLAIN_PIPELINE}, **cache())
    assert watches[1].calls['train head'] == 0
    assert watches[0].losses == watches[1].losses
    assert bytes_of(kept) == bytes_of(whole)
    assert '(140 bytes each)' in log(tmp_path / 'kept')


@pytest.mark.parametrize('first', ['layer4', 'all'])  # a validation comes at the end
def test_frozen_in_half_the_bits(first, distil, monkeypatch):
    """The two results that the trial compares are equal, so that it needs no tolerance here."""
    hook = {**STAGES, 'stages': [first, 'head']}
    changes = {PIPELINE: PLAIN_PIPELINE, 'hook': hook, 'model': dict(frozen_dtype='bfloat16')}
    watches = Watch(), Watch()
    whole = trained(distil, 'whole', watches[0], **changes)
    monkeypatch.setattr('mmkd.feature_cache.checks.torch.allclose', lambda one, two, **_: torch.equal(one, two))
    kept = trained(distil, 'kept', watches[1], **changes, **cache())
    assert watches[1].calls['train head'] == 0
    assert watches[0].losses == watches[1].losses
    assert bytes_of(kept) == bytes_of(whole)


def test_features_of_another_dtype_are_other_features(distil, tmp_path):
    folder = dict(dir=str(tmp_path / 'features'))
    hook = dict(stages=['head'], score_teacher=False)
    for dtype in (None, 'bfloat16', 'bfloat16'):
        trained(distil, str(dtype), hook=hook, model=dict(frozen_dtype=dtype), **cache(**folder))
    assert log(tmp_path / 'None').count('is being filled') == 1
    assert 'it is computed again' in log(tmp_path / 'bfloat16')
    assert log(tmp_path / 'bfloat16').count('is being filled') == 1


def test_the_trial_leaves_compiling_off(distil):
    """Otherwise the teacher's score and a smaller batch would be compiled before the training."""
    compiling = []

    class Look(Hook):
        priority = 'LOWEST'

        def before_run(self, runner):
            compiling.append(runner.model.speed_ups.active)

    trained(distil, watch=Look(), model=dict(compile=dict(backend='eager')), **cache())
    assert compiling == [False]


def test_what_the_first_process_meets_is_told(distil, tmp_path, monkeypatch):
    """The other processes wait for the first one's message."""

    def denied(*_):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr('mmkd.feature_cache.file.os.replace', denied)
    with pytest.raises(
        UserError, match=r'the file cannot be written \(PermissionError: .*Permission denied\); check dir'
    ):
        trained(distil, **cache())
