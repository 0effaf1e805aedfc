"""A RetinaNet twice as wide on the digits' detection set: a teacher for retinanet_r18-w16_digits-coco.py."""
_base_ = 'retinanet_r18-w16_digits-coco.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128))
train_cfg = dict(max_epochs=24)
