"""A GFL with a backbone twice as wide on the same images: a teacher for gfl_r18-w16_coco-subset-person.py."""
_base_ = 'gfl_r18-w16_coco-subset-person.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]))
train_cfg = dict(max_epochs=20, val_interval=5)
