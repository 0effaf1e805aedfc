"""SSKD on the digits' detection set: a RetinaNet teaches one half as wide. Train the teacher first."""
_base_ = '../baselines/retinanet_r18-w16_digits-coco.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/retinanet_r18-w32_digits-coco.py',
        checkpoint='work_dirs/retinanet_r18-w32_digits-coco/epoch_24.pth'))
train_cfg = dict(max_epochs=36)  # 18 for the four stages and the neck, 18 for the last phase
