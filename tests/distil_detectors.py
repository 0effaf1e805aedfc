"""A small one-stage and a small two-stage student with their teachers, trained on a few digits in this process."""

import copy
from functools import reduce
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.distil import FROZEN
from tests.processes import train_two

KINDS = ['RetinaNet', 'FasterRCNN']
BASELINE = ROOT / 'configs' / 'baselines' / 'retinanet_r18-w16_digits-coco.py'


def retinanet(width: int) -> ConfigDict:
    """A RetinaNet whose backbone has this many channels at the stem."""
    cfg = load_config(str(BASELINE))
    cfg.merge_from_dict({'model.bbox_head.stacked_convs': 1})
    return narrowed(cfg.model, width)


def faster_rcnn(width: int) -> ConfigDict:
    """A Faster R-CNN with that backbone."""
    cfg = load_config('mmdet::_base_/models/faster-rcnn_r50_fpn.py')
    cfg.model.update(data_preprocessor=load_config(str(BASELINE)).model.data_preprocessor)
    cfg.merge_from_dict(
        {
            'model.backbone': dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
            'model.rpn_head.anchor_generator.scales': [3],
            'model.roi_head.bbox_head': dict(num_classes=10, fc_out_channels=32),
            'model.train_cfg.rpn_proposal': dict(nms_pre=50, max_per_img=20),
            'model.train_cfg.rcnn.sampler.num': 16,
            'model.test_cfg.rpn': dict(nms_pre=50, max_per_img=20),
        }
    )
    return narrowed(cfg.model, width)


def narrowed(model: ConfigDict, width: int) -> ConfigDict:
    """Change a config's number of channels."""
    model.backbone.update(stem_channels=width, base_channels=width)
    model.neck.update(in_channels=[width * 2**level for level in range(4)], out_channels=2 * width)
    for name in ('bbox_head', 'rpn_head'):
        if name in model:
            model[name].update(in_channels=2 * width, feat_channels=2 * width)
    if 'roi_head' in model:
        model.roi_head.bbox_roi_extractor.out_channels = 2 * width
        model.roi_head.bbox_head.in_channels = 2 * width
    return model


def yolox(width: int) -> ConfigDict:
    """A YOLOX with this many channels and the least depth."""
    cfg = load_config('mmdet::yolox/yolox_s_8xb8-300e_coco.py')
    cfg.merge_from_dict(
        {
            'model.data_preprocessor.batch_augments': None,
            'model.backbone': dict(deepen_factor=0.1, widen_factor=width / 64),
            'model.neck': dict(in_channels=[4 * width, 8 * width, 16 * width], out_channels=2 * width),
            'model.bbox_head': dict(num_classes=10, in_channels=2 * width, feat_channels=2 * width, stacked_convs=1),
        }
    )
    return cfg.model


def model_of(kind: str, width: int) -> ConfigDict:
    """The model of one of the kinds."""
    return dict(RetinaNet=retinanet, FasterRCNN=faster_rcnn, YOLOX=yolox)[kind](width)


def write_few_digits(folder: Path, validation: int) -> Path:
    """Write twelve training images of 64 pixels, and as many for validation as are asked for."""
    pytest.importorskip('sklearn')
    from mmkd.datasets import digits_coco as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'SIDE', 64)
        patch.setattr(module, 'PARTS', (('train', 'train', 12), ('val', 'test', validation)))
        module.write_digits_coco(folder)
    return folder


@pytest.fixture(scope='session')
def few_digits(tmp_path_factory) -> Path:
    """Four images for validation."""
    return write_few_digits(tmp_path_factory.mktemp('data') / 'few_digits', validation=4)


@pytest.fixture(scope='session', params=KINDS)
def kind(request) -> str:
    """The kind of detector, for all tests."""
    pytest.importorskip('mmdet')
    return request.param


def one_kind_quick(quick: str) -> pytest.MarkDecorator:
    """The kind of detector for tests that start programs; other kinds run among the long tests only."""
    kinds = [pytest.param(kind, marks=() if kind == quick else pytest.mark.long) for kind in KINDS]
    return pytest.mark.parametrize('kind', kinds, indirect=True, scope='session')


@pytest.fixture(scope='session')
def teacher(kind, tmp_path_factory) -> dict:
    """A teacher of 1.5 times the width, with random weights in a file."""
    return teacher_in(kind, tmp_path_factory.mktemp('teacher'))


def teacher_in(kind: str, folder: Path) -> dict:
    """Write such a teacher into a folder."""
    model = model_of(kind, 12)
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope('mmdet'):  # no other test writes here
        network = MODELS.build(copy.deepcopy(model))
        network.init_weights()
    path = folder / f'{kind}.pth'
    torch.save(dict(state_dict=network.state_dict()), path)
    return dict(config=dict(model=model.to_dict(), default_scope='mmdet'), checkpoint=str(path))


@pytest.fixture(scope='session')
def plain(kind, few_digits) -> Config:
    """The student's own config."""
    return plain_config(kind, few_digits)


def plain_config(kind: str, few_digits: Path) -> Config:
    """8 channels, 6 epochs of 3 iterations, a fixed seed."""
    cfg = load_config(str(BASELINE))
    cfg.model = model_of(kind, 8)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].batch_size = 4
        cfg[name].dataset.data_root = f'{few_digits}/'
    for name in ('val_evaluator', 'test_evaluator'):
        cfg[name].ann_file = str(few_digits / 'val.json')
    cfg.train_dataloader.dataset.pipeline[2].scale = cfg.val_dataloader.dataset.pipeline[1].scale = (64, 64)
    cfg.train_dataloader.dataset.pipeline.insert(3, dict(type='RandomFlip', prob=0.5))
    cfg.train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=6)
    cfg.param_scheduler[0].end = 2
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    return cfg


@pytest.fixture(scope='session')
def config_of(plain, teacher):
    """Make the config of a distillation by SSKD: two stages, then the head."""

    def make(work_dir: Path, hook: dict | None = None, model: dict | None = None, **changes) -> Config:
        cfg = copy.deepcopy(plain)
        cfg.model = {**dict(type='mmkd.SSKD', student=cfg.model, teacher=teacher), **(model or {})}
        hook = {**dict(stages=['layer2', 'neck', 'head'], lengths=[2, 1, 3], score_teacher=False), **(hook or {})}
        cfg.default_hooks.stages = {**FROZEN, **hook}
        cfg.work_dir = str(work_dir)
        cfg.experiment_name = f'{work_dir}_{len(list(work_dir.rglob("*")))}'.replace('/', '_')
        for key, value in changes.items():  # a dict replaces the old one
            *parents, last = key.split('.')
            reduce(_inside, parents, cfg)[int(last) if last.isdigit() else last] = value
        return cfg

    return make


@pytest.fixture(scope='session')
def distil(config_of):
    """Build the runner of a distillation by SSKD."""

    def make(*args, **changes) -> Runner:
        return Runner.from_cfg(config_of(*args, **changes))

    return make


def _inside(node, name: str):
    """The part of a config that this step of a path leads to."""
    return node[int(name) if name.isdigit() else name]


@HOOKS.register_module()
class SaveEachRank(Hook):
    """Saves each process's final student, so that a test can compare them."""

    def after_train(self, runner: Runner) -> None:
        torch.save(runner.model.module.student.state_dict(), f'{runner.work_dir}/rank{runner.rank}.pth')


def in_two_processes(cfg: Config, folder: Path) -> str:
    """Train in two processes on gloo in folder/run and return the output; the student of each rank is saved."""
    cfg.custom_hooks = [dict(type='SaveEachRank')]
    cfg.custom_imports = dict(imports=['tests.distil_detectors'])
    cfg.dump(folder / 'config.py')
    return train_two(folder / 'config.py', '--work-dir', folder / 'run')
