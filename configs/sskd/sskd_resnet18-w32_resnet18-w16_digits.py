"""SSKD on the handwritten digits, the demo: a ResNet-18 teaches one half as wide. Train the teacher first."""
_base_ = '../baselines/resnet18-w16_digits.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet18-w32_digits.py',
        checkpoint='work_dirs/resnet18-w32_digits/epoch_10.pth'))
train_cfg = dict(max_epochs=40)  # 5 for each of the four stages, 20 for the last phase
