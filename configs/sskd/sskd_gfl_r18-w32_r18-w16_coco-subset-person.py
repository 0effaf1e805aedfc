"""SSKD on the persons of the COCO subset: a GFL teaches one with a backbone half as wide. Train the teacher first."""
_base_ = '../baselines/gfl_r18-w16_coco-subset-person.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/gfl_r18-w32_coco-subset-person.py',
        checkpoint='work_dirs/gfl_r18-w32_coco-subset-person/epoch_20.pth'))
train_cfg = dict(max_epochs=10, val_interval=5)
