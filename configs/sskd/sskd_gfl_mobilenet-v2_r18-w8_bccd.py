"""SSKD on blood cells (BCCD): a GFL on a pretrained MobileNetV2 teaches a narrow one. Train the teacher first."""
_base_ = '../baselines/gfl_r18-w8_bccd.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/gfl_mobilenet-v2_bccd.py',
        checkpoint='work_dirs/gfl_mobilenet-v2_bccd/epoch_12.pth'))
