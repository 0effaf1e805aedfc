"""SSKD on the persons of the COCO subset: a GFL with ImageNet weights teaches a narrow one. Train the teacher first."""
_base_ = '../baselines/gfl_r18-w16_coco-subset-person.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/gfl_mobilenet-v2_coco-subset-person.py',
        checkpoint='work_dirs/gfl_mobilenet-v2_coco-subset-person/epoch_12.pth'))
