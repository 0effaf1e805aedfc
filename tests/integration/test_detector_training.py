"""Detectors distilled for real on a tiny set; mmdet without mmkd evaluates the saved file."""

import json
import subprocess
import sys

import pytest
from mmengine.runner import Runner

from mmkd.datasets import digits_coco
from mmkd.utils.configs import load_config

pytest.importorskip('mmdet')
pytest.importorskip('sklearn')

STUDENT = """
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(stem_channels=8, base_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32, add_extra_convs=False, num_outs=3),
    bbox_head=dict(
        num_classes=1, in_channels=32, feat_channels=32, stacked_convs=1,
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32])))
data = dict(
    data_root='{data}/', metainfo=dict(classes=('digit',)), pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'))])
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(ann_file='train.json', data_prefix=dict(img='train/'), **data))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(ann_file='val.json', data_prefix=dict(img='val/'), **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/val.json')
test_evaluator = val_evaluator
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=10, val_interval=100)
default_hooks = dict(logger=dict(interval=1))
randomness = dict(seed={seed})
"""

TEACHER = """
_base_ = 'student.py'
model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64),
    bbox_head=dict(in_channels=64, feat_channels=64))
"""

METHOD = """
_base_ = 'student.py'
model = dict(
    _delete_=True,
    {method},
    student={{{{_base_.model}}}},
    teacher=dict(config='{folder}/teacher.py', checkpoint='{folder}/teacher/epoch_10.pth'))
default_hooks = dict(stages=dict(type='mmkd.StageScheduleHook'))
"""

HEADS = dict(type='mmdet.FCOSHead', feat_channels=32, stacked_convs=1, norm_on_bbox=True, center_sampling=True)

# Where mmcv has no compiled ops, mmdet needs mmkd's stand-in for them, so mmkd.compat may be imported there, but no
# other part of mmkd; where mmcv has them, no part at all.
STOCK = """
import sys
from importlib.util import find_spec

COMPAT = ('mmkd.compat', 'mmkd.errors', 'mmkd.version') if find_spec('mmcv._ext') is None else None

class NoPlugin:
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] == 'mmkd' and not (COMPAT and (name == 'mmkd' or name.startswith(COMPAT))):
            raise ImportError(f'{name} is barred')

sys.meta_path.insert(0, NoPlugin)
if COMPAT:
    import mmkd
try:
    import mmkd.distillers
except ImportError:
    pass
else:
    sys.exit('mmkd is there')

from mmengine.config import Config
from mmengine.runner import Runner

config, checkpoint, work_dir = sys.argv[1:]
cfg = Config.fromfile(config)
cfg.update(load_from=checkpoint, work_dir=work_dir)
print('AP', Runner.from_cfg(cfg).test()['coco/bbox_mAP'])
"""


def write_tiny_set(folder) -> None:
    """Written like the converter's, but smaller and with one class: ten classes would need a longer training."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dict(SIDE=64, MAX_DIGITS=3, PARTS=(('train', 'train', 120), ('val', 'test', 40))).items():
            patch.setattr(digits_coco, name, value)
        digits_coco.write_digits_coco(folder)
    for file in folder.glob('*.json'):
        coco = json.loads(file.read_text())
        coco['categories'] = [dict(id=0, name='digit')]
        for box in coco['annotations']:
            box['category_id'] = 0
        file.write_text(json.dumps(coco))


def train(config) -> list[dict]:
    """Train with a config and return the log."""
    cfg = load_config(str(config))
    cfg.work_dir = str(config.with_suffix(''))
    cfg.visualizer.name = str(config)  # mmengine would log to the file of another run with this name
    Runner.from_cfg(cfg).train()
    (log,) = config.with_suffix('').glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the set, the student's own config, and a trained teacher."""
    folder = tmp_path_factory.mktemp('detectors')
    write_tiny_set(folder / 'data')
    (folder / 'student.py').write_text(STUDENT.format(data=folder / 'data', seed=0))
    (folder / 'teacher.py').write_text(TEACHER)
    train(folder / 'teacher.py')
    return folder


def distil(folder, name: str, method: str, epochs: int) -> list[dict]:
    text = METHOD.format(method=method, folder=folder)
    (folder / f'{name}.py').write_text(f'{text}train_cfg = dict(max_epochs={epochs})\n')
    return train(folder / f'{name}.py')


def stock_ap(folder, checkpoint: str) -> float:
    """Write a training of the student's own config."""
    command = [sys.executable, '-c', STOCK, *(str(folder / name) for name in ('student.py', checkpoint, 'test'))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    ap = float(run.stdout.split()[-1])
    print(f'{checkpoint}: {ap} box AP')
    return ap


def losses_of(log, key: str) -> list[float]:
    return [line[key] for line in log if key in line]


def test_sskd(folder):
    log = distil(folder, 'sskd', "type='mmkd.SSKD'", 40)
    for stage in ('layer1', 'layer2', 'layer3', 'layer4', 'neck'):  # the adapter is fitted from the first batch on
        assert losses_of(log, f'val_r2_{stage}')[-1] > 0.2, stage
    assert stock_ap(folder, 'sskd/epoch_40.pth') > 0.33  # 0.28 with an untrained teacher, 0 untrained


def test_mhkd(folder):
    log = distil(folder, 'mhkd', f"type='mmkd.MHKD', heads={HEADS}", 10)
    for key in ('loss_own', 'loss_teacher'):
        for stage in ('layer2', 'layer3', 'layer4'):
            losses = losses_of(log, f'{key}_{stage}')
            assert losses[-1] < 0.5 * losses[0], (key, stage)
    losses = losses_of(log, 'loss_soft')
    assert losses[-1] < 0.5 * losses[0]
    assert stock_ap(folder, 'mhkd/epoch_10.pth') > 0.33
