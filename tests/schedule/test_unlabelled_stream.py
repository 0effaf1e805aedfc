"""Checks of unlabelled images before the first iteration, and when their batches are drawn."""

import copy
import multiprocessing
import subprocess

import pytest
import torch
from mmengine.hooks import Hook

from mmkd.errors import UserError
from tests.distillers.test_unlabelled_losses import UNLABELLED


def loader(**changes) -> dict:
    """The loader of the unlabelled images, with changes to its data set."""
    cfg = copy.deepcopy(UNLABELLED)
    cfg['dataset'].update(changes)
    return cfg


def sized(scale: int) -> list[dict]:
    return [dict(type='Resize', scale=scale), dict(type='PackInputs')]


UNREADABLE = [dict(type='LoadImageFromFile'), *sized(16)]
MIXUP = {'model.student.train_cfg': dict(augments=[dict(type='Mixup', alpha=0.2)])}
MISTAKES = {
    'size': (
        loader(pipeline=sized(20)),
        {},
        r'its images have the shape \(3, 20, 20\), those of train_.* \(3, 16, 16\)',
    ),
    'none': (loader(indices=[]), {}, r'unlabelled_dataloader.dataset: it holds 0 images'),
    'too few': ({**loader(indices=3), 'drop_last': True}, {}, r'it holds 3 images, from which no batch can be made'),
    'pipeline': (loader(pipeline=UNREADABLE), {}, r'unlabelled_dataloader.dataset: no batch can be made of its first'),
    'not packed': (
        loader(pipeline=sized(16)[:1]),
        {},
        r"unlabelled_dataloader.*pipeline: its results have no 'inputs'",
    ),
    'head alone': (loader(), dict(hook=dict(stages=['head'])), r'nothing in this run learns from images .* \(SSKD, '),
    'no soft loss': (loader(), dict(model=dict(type='mmkd.KD', alpha=0)), r'nothing .* or soft terms with a weight'),
    'mixup': (loader(), MIXUP, r'model.student.train_cfg.augments \(Mixup\) mixes the labels'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_told_before_the_first_iteration(distil, mistake):
    unlabelled, changes, said = MISTAKES[mistake]
    with pytest.raises(UserError, match=said):
        distil(unlabelled_dataloader=unlabelled, **changes).train()


class ToWorkers(Hook):
    """Sends signals to all workers, as Ctrl-C in a terminal and SLURM do."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            (worker,) = multiprocessing.active_children()
            for name in ('TERM', 'INT'):  # from another process: a training ends its own workers
                subprocess.run(['bash', '-c', f'kill -{name} {worker.pid}'], check=True, timeout=60)


def test_a_signal_to_the_workers_too_does_not_cut_them_off(distil):
    changes = dict(unlabelled_dataloader={**loader(), 'num_workers': 1})
    changes['default_hooks.preemption'] = dict(type='mmkd.PreemptionHook')
    runner = distil(hook=dict(stages=['layer2']), **changes)
    runner.register_hook(ToWorkers())
    runner.train()
    assert runner.iter == runner.max_iters


class Drawn(Hook):
    """Records in which iterations unlabelled images come, and how many."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        batch = runner.model.unlabelled
        self.seen.append((runner.model.current, 0 if batch is None else len(batch.inputs)))


def test_they_are_drawn_where_something_learns_from_them(distil, tmp_path):
    unlabelled = {**loader(), 'sampler': dict(type='DefaultSampler', shuffle=True)}  # as in the labelled loader
    runner = distil(hook=dict(stages=['layer2', 'layer4', 'head']), unlabelled_dataloader=unlabelled)
    drawn = Drawn()
    runner.register_hook(drawn)
    runner.train()
    per_epoch = 4  # of the labelled loader
    assert (
        drawn.seen
        == [(('layer2',), 5)] * 2 * per_epoch + [(('layer4',), 5)] * 2 * per_epoch + [(('head',), 0)] * 4 * per_epoch
    )
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert (
        'Images without labels: 30, 5 of them in each iteration of layer2, layer4 beside those of train_dataloader.'
        in log.read_text()
    )


@pytest.mark.parametrize(
    ('model', 'stages', 'said'),
    [
        (dict(type='mmkd.SSKD'), ['layer2', 'all'], True),
        (dict(type='mmkd.FeatureKD'), ['all'], True),
        (dict(type='mmkd.SSKD', alpha=1.0), ['layer2', 'all'], False),
        (dict(type='mmkd.SSKD'), ['layer2', 'layer4'], False),
        (dict(type='mmkd.KD'), ['all'], False),
    ],
)
def test_the_log_tells_where_only_labels_teach_classes(distil, tmp_path, model, stages, said):
    distil(model=model, hook=dict(stages=stages), unlabelled_dataloader=loader()).call_hook('before_run')
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert ('Only the labelled images teach classes here.' in log.read_text()) is said


@pytest.mark.parametrize(
    ('model', 'stages', 'said'),
    [
        (dict(type='mmkd.KD'), ['all'], True),
        (dict(type='mmkd.MHKD'), ['all'], True),
        (dict(type='mmkd.MHKD'), ['teacher_heads', 'all'], True),
        (dict(type='mmkd.MHKD'), ['teacher_heads'], False),  # the student learns nothing
        (dict(type='mmkd.MHKD'), ['layer2', 'all'], False),
        (dict(type='mmkd.SSKD', alpha=0.3), ['all'], False),
        (dict(type='mmkd.FeatureKD'), ['all'], False),
    ],
)
def test_the_log_tells_what_gains_more_where_all_images_have_labels(distil, tmp_path, model, stages, said):
    distil(model=model, hook=dict(stages=stages)).call_hook('before_run')
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert ('mimicked features gained more than class scores' in log.read_text()) is said


def test_a_folder_of_images_will_do(distil, tmp_path):
    import cv2
    import numpy as np

    (tmp_path / 'images').mkdir()
    for i in range(6):
        cv2.imwrite(str(tmp_path / 'images' / f'{i}.png'), np.full((20, 24, 3), 40 * i, np.uint8))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]
    dataset = dict(type='CustomDataset', data_root=str(tmp_path / 'images'), with_label=False, pipeline=pipeline)
    runner = distil(unlabelled_dataloader={**loader(), 'dataset': dataset, 'num_workers': 1})
    drawn = Drawn()
    runner.register_hook(drawn)
    runner.train()
    assert drawn.seen[0] == (('layer1',), 5)


def test_features_are_kept_for_the_head_as_ever(distil):
    without_chance = dict(hook=dict(stages=['layer4', 'head']), unlabelled_dataloader=loader(pipeline=sized(16)))
    ends = []
    for name, changes in dict(
        kept={'default_hooks.cache': dict(type='mmkd.FeatureCacheHook', views=1)}, plain={}
    ).items():
        runner = distil(name, **without_chance, **{'train_dataloader.dataset.pipeline': sized(16)}, **changes)
        runner.train()
        ends.append(runner.model.student.state_dict())
    assert all(torch.allclose(value, ends[1][name], rtol=1e-5, atol=1e-7) for name, value in ends[0].items())
