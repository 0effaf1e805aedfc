"""A narrow GFL on blood cells (BCCD), from scratch, on images of 160 pixels: a student of 0.27 million parameters."""
_base_ = [
    '../_base_/models/gfl_r18-w16.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/bccd.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(stem_channels=8, base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(num_classes=3, in_channels=32, feat_channels=32))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
