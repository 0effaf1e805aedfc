"""MHKD on the handwritten digits: a ResNet-18 teaches one half as wide. Train the teacher first."""
_base_ = '../baselines/resnet18-w16_digits.py'
model = dict(
    _delete_=True,
    type='mmkd.MHKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet18-w32_digits.py',
        checkpoint='work_dirs/resnet18-w32_digits/epoch_10.pth'),
    heads=dict(type='mmkd.AuxiliaryHead', width=32))
train_cfg = dict(max_epochs=40)
