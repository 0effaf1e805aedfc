"""A GFL on a MobileNetV2 with ImageNet weights on blood cells (BCCD): the teacher. docs/data.md has the weights."""
_base_ = [
    '../_base_/models/gfl_r18-w16.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/bccd.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 6),
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='data/mobilenet-v2_imagenet.pth')),
    neck=dict(in_channels=[32, 96, 320], start_level=0),
    bbox_head=dict(num_classes=3))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
train_cfg = dict(max_epochs=12)
