"""A GFL on a MobileNetV2 with ImageNet weights on the persons of the COCO subset: a teacher. docs/data.md has the weights."""
_base_ = 'gfl_r18-w16_coco-subset-person.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 6),
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='data/mobilenet-v2_imagenet.pth')),
    neck=dict(in_channels=[32, 96, 320], start_level=0))
train_cfg = dict(max_epochs=12, val_interval=4)
