"""mmdet's own hooks in a distillation, on a tiny YOLOX, which uses one of them."""

import copy
import json

import pytest
import torch
from mmengine.hooks import Hook

from mmkd.cli.error_keys import explained
from mmkd.errors import UserError

pytestmark = pytest.mark.parametrize('kind', ['YOLOX'], indirect=True, scope='session')

RESIZED = [dict(type='Resize', scale=(64, 64)), dict(type='PackDetInputs')]
MOSAIC = dict(type='Mosaic', img_scale=(64, 64))
STAGES = dict(stages=['stage4', 'neck', 'head'], lengths=[1, 1, 2])
SHORT = {'train_cfg': dict(by_epoch=True, max_epochs=4, val_interval=1)}


@pytest.fixture
def mixed(plain) -> dict:
    """The student's data with transforms that mix several images."""
    inner = copy.deepcopy(plain.train_dataloader.dataset)
    inner.pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    return dict(type='MultiImageMixDataset', dataset=inner, pipeline=[MOSAIC, *RESIZED])


class Transforms(Hook):
    """For each epoch: which of these transforms are on, and whether the student's head has its L1 loss."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_epoch(self, runner):
        dataset = runner.train_dataloader.dataset
        transforms = getattr(dataset.pipeline, 'transforms', dataset.pipeline)  # some data sets have a plain list
        left_out = getattr(dataset, '_skip_type_keys', None) or ()
        kinds = {type(transform).__name__ for transform in transforms} & {'Mosaic', 'RandomShift'} - {*left_out}
        self.seen.append(([*kinds], runner.model.student.bbox_head.use_l1))


def test_modes_checks_and_drawings(distil, mixed, tmp_path):
    hooks = [
        dict(type='YOLOXModeSwitchHook', num_last_epochs=1),
        dict(type='NumClassCheckHook'),
        dict(type='CheckInvalidLossHook', interval=1),
    ]
    drawing = {'default_hooks.visualization': dict(type='DetVisualizationHook', draw=True, interval=1, score_thr=0)}
    changes = {'train_dataloader.dataset': mixed, 'custom_hooks': hooks, **drawing, **SHORT}
    runner, transforms = distil(tmp_path, hook={**STAGES, 'score_teacher': True}, **changes), Transforms()
    runner.register_hook(transforms)
    runner.train()
    assert transforms.seen == [(['Mosaic'], False)] * 2 + [([], True)] * 2
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line['epoch'] for line in lines if line.get('loss_l1', 0) > 0] == [3] * 3 + [4] * 3
    drawn = sorted(path.stem for path in tmp_path.glob('*/vis_data/vis_image/*'))
    assert drawn == ['val_img_12', 'val_img_9']  # validations of the head, not of the teacher


def test_pipelines_are_switched(distil, plain, tmp_path):
    pipeline = [*plain.train_dataloader.dataset.pipeline[:2], dict(type='RandomShift', prob=0), *RESIZED]
    hook = dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=pipeline)
    short = {'train_cfg': dict(by_epoch=True, max_epochs=2, val_interval=2)}
    runner = distil(tmp_path, hook=dict(stages=['stage4', 'neck'], lengths=[1, 1]), custom_hooks=[hook], **short)
    loaded = Transforms()
    runner.register_hook(loaded)
    runner.train()
    assert [kinds for kinds, _ in loaded.seen] == [[], ['RandomShift']]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.student.bbox_head.num_classes': 11}, r'^custom_hooks\.0 does not fit \(.*`num_classes` \(11\)'),
        ({'optim_wrapper.optimizer.lr': 1e30}, r'^custom_hooks\.1: the loss is NaN or infinite\. Lower'),
    ],
)
def test_what_their_checks_find_is_told(distil, tmp_path, changes, message):
    hooks = [dict(type='NumClassCheckHook'), dict(type='CheckInvalidLossHook', interval=1)]
    runner = distil(tmp_path, hook=STAGES, custom_hooks=hooks, **changes, **SHORT)
    with pytest.raises(UserError, match=message), explained(runner.cfg):
        runner.train()


def test_statistics_are_averaged_over_processes(distil, tmp_path, monkeypatch):
    from mmdet.engine.hooks import SyncNormHook, sync_norm_hook

    runner = distil(tmp_path, hook=STAGES, **SHORT)
    before = copy.deepcopy(runner.model.student.state_dict())
    monkeypatch.setattr(sync_norm_hook, 'get_dist_info', lambda: (0, 2))
    monkeypatch.setattr(
        sync_norm_hook, 'all_reduce_dict', lambda states, op: {name: value + 1 for name, value in states.items()}
    )
    SyncNormHook().before_val_epoch(runner)
    after = runner.model.student.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert 'backbone.stem.conv.bn.running_mean' in changed
    assert all('.bn.' in name for name in changed)
