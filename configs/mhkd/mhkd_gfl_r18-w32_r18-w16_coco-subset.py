"""MHKD on the COCO subset: a GFL teaches one with a backbone half as wide. Train the teacher first."""
_base_ = '../baselines/gfl_r18-w16_coco-subset.py'
model = dict(
    _delete_=True,
    type='mmkd.MHKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/gfl_r18-w32_coco-subset.py',
        checkpoint='work_dirs/gfl_r18-w32_coco-subset/epoch_20.pth'),
    heads=dict(
        type='mmdet.FCOSHead', feat_channels=64, stacked_convs=1, norm_on_bbox=True, center_sampling=True))
