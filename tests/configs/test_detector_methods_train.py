"""Two iterations of each config of a detector's method, at tiny size; what is saved is the plain student."""

import copy
from functools import cache
from pathlib import Path

import mmengine.config.utils
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.distil_detectors import few_digits, plain_config  # noqa: F401 (a fixture)
from tests.mmdet_detectors import listed, slim

CONFIGS = sorted((ROOT / 'configs' / 'feature_kd').glob('*_coco.py')) + [
    ROOT / 'configs' / 'feature_kd' / 'feature-kd_gfl_mobilenet-v2_r18-w8_bccd.py'
]


@pytest.fixture(scope='module', autouse=True)
def metafiles_read_once():
    """All of mmdet's are read for each path into its configs, which takes longer than a training here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield


def tiny(model):
    """Few channels, 10 classes, from scratch."""
    model.backbone.update(init_cfg=None)
    if model.backbone.type == 'ResNet' and 'base_channels' not in model.backbone:  # of COCO
        model = slim(model) if 'roi_head' in model else model
        model.backbone.update(depth=18, stem_channels=8, base_channels=8, frozen_stages=-1, norm_eval=False)
        model.backbone.norm_cfg.requires_grad = True
        model.neck.in_channels = [8, 16, 32, 64]
        model.neck.out_channels = 32
        parts = [model.get('bbox_head'), model.get('rpn_head')]
        for head in filter(None, parts):
            head.update(in_channels=32, feat_channels=32)
        if 'roi_head' in model:
            model.roi_head.bbox_roi_extractor.out_channels = model.roi_head.bbox_head.in_channels = 32
    for head in listed(model.roi_head.bbox_head if 'roi_head' in model else model.bbox_head):
        head.num_classes = 10
    return model


def distillation(path: Path, few_digits: Path, folder: Path):  # noqa: F811
    """The config, tiny, on a few digits, and the student's own model."""
    method = load_config(str(path))
    teacher = load_config(method.model.teacher.config)
    cfg = plain_config('RetinaNet', few_digits)
    student = tiny(method.model.student)
    cfg.model = method.model
    config = dict(model=tiny(teacher.model).to_dict(), default_scope='mmdet')
    cfg.model.update(student=student, teacher=dict(config=config, checkpoint=None))
    cfg.train_cfg = dict(by_epoch=False, max_iters=2, val_interval=99)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=2, by_epoch=False)
    cfg.default_hooks.stages = dict(type='mmkd.StageScheduleHook', score_teacher=False)
    cfg.work_dir, cfg.experiment_name = str(folder), f'{path.stem}_{folder.name}'
    return cfg, copy.deepcopy(student)


QUICK = ('ld_gfl', 'cross-kd_atss', 'cross-kd_retinanet', 'fgd_retinanet', 'dkd_faster-rcnn')


def named(path: Path):
    name = '_'.join(path.stem.split('_')[:2])
    return pytest.param(path, id=name, marks=() if name in QUICK else pytest.mark.long)


@pytest.mark.parametrize('path', map(named, CONFIGS))
def test_two_iterations(path, few_digits, tmp_path):  # noqa: F811
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    cfg, student = distillation(path, few_digits, tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    for name in runner.model.terms:
        (values,) = (logged[key] for key in logged if key.startswith(f'train/loss_term_{name}'))
        assert 0 < values.current() < float('inf'), name
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    MODELS.build(student).load_state_dict(state, strict=True)
