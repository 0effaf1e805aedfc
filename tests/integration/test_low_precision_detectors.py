"""Detectors whose frozen parts and teachers compute in 16 bits."""

from functools import partial

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

pytest.importorskip('mmdet')

HALF, FULL = torch.bfloat16, torch.float32


class Watch(Hook):
    """By module name: the dtypes of computing in each stage; and the losses."""

    def __init__(self):
        self.seen = {}
        self.losses = {}

    def before_train(self, runner):
        distiller = runner.model
        for whose, network in (('student', distiller.student), ('teacher', distiller.teacher.network)):
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.register_forward_hook(partial(self.see, distiller, f'{whose} {name}'))

    def see(self, distiller, name, module, args, output):
        now = self.seen.setdefault(distiller.current if distiller.training else 'validation', {})
        now.setdefault(name, set()).add(output.dtype)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for value in (value for name, value in outputs.items() if 'loss' in name):
            self.losses.setdefault(runner.model.current, set()).update((value.dtype, bool(value.isfinite())))


def train(runner) -> Watch:
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert set(map(frozenset, watch.losses.values())) == {frozenset((FULL, True))}
    assert all(dtypes == {FULL} for dtypes in watch.seen['validation'].values())
    return watch


def of(seen: dict, start: str) -> set:
    """Output dtypes of the modules whose names begin with these words."""
    return {dtype for name, dtypes in seen.items() if name.startswith(start) for dtype in dtypes}


def test_each_stage_of_sskd(distil, tmp_path):
    seen = train(distil(tmp_path, model=dict(frozen_dtype='bfloat16'))).seen
    assert of(seen['layer2',], 'student backbone.layer1') == {HALF}
    assert of(seen['layer2',], 'student backbone.layer2') == {FULL}
    assert of(seen['neck',], 'student neck') == {FULL}
    for stage in ('neck', 'head'):
        assert of(seen[stage,], 'student backbone') == {HALF}
    assert of(seen['neck',], 'teacher') == {HALF}
    assert of(seen['head',], 'student neck') == {HALF}
    assert of(seen['head',], 'student bbox_head') | of(seen['head',], 'student roi_head') == {FULL}
    assert not of(seen['head',], 'teacher')


@pytest.mark.parametrize('method', ['MHKD', 'KD'])
def test_other_methods(method, kind, distil, tmp_path):
    model = dict(type=f'mmkd.{method}', frozen_dtype='bfloat16')
    seen = train(distil(tmp_path, dict(stages=['all'], lengths=[6]), model)).seen
    (now,) = (dtypes for names, dtypes in seen.items() if names != 'validation')
    assert of(now, 'student') == {FULL}
    assert of(now, 'teacher backbone') == of(now, 'teacher neck') == {HALF}
    if kind == 'RetinaNet':
        assert of(now, 'teacher bbox_head') == {HALF}
    else:  # mmdet never calls a RoI head as a module
        assert of(now, 'teacher roi_head.bbox_head') == {FULL}
