"""KD on blood cells (BCCD): both GFLs have a pretrained MobileNetV2, the student a narrow head.

Train the teacher first.
"""
_base_ = '../baselines/gfl_mobilenet-v2-n32_bccd.py'
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/gfl_mobilenet-v2_bccd.py',
        checkpoint='work_dirs/gfl_mobilenet-v2_bccd/epoch_12.pth'))
