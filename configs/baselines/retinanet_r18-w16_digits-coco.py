"""A narrow RetinaNet on the digits' detection set (made by tools/dataset_converters/digits_coco.py)."""
_base_ = [
    '../_base_/datasets/digits_coco.py',
    '../_base_/schedules/digits_coco.py',
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        depth=18, stem_channels=16, base_channels=16, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, add_extra_convs=False, num_outs=3),
    bbox_head=dict(
        num_classes=10, in_channels=64, feat_channels=64, stacked_convs=2,
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32])))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
