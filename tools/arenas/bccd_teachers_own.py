"""A control of SSKD on BCCD: the student's narrow head learns on the teacher's own frozen backbone and neck."""

_base_ = '../../configs/sskd/sskd_gfl_mobilenet-v2_r18-w8_bccd.py'
weights = dict(type='Pretrained', checkpoint='work_dirs/gfl_mobilenet-v2_bccd/epoch_12.pth')
model = dict(
    student=dict(
        backbone=dict(
            _delete_=True, type='MobileNetV2', out_indices=(2, 4, 6), init_cfg=dict(prefix='backbone.', **weights)
        ),
        neck=dict(in_channels=[32, 96, 320], out_channels=64, start_level=0, init_cfg=dict(prefix='neck.', **weights)),
        bbox_head=dict(in_channels=64),
    )
)
