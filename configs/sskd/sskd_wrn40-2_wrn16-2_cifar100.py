"""SSKD on CIFAR-100: wrn40-2 teaches wrn16-2. Train the teacher first."""
_base_ = '../baselines/wrn16-2_cifar100.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/wrn40-2_cifar100.py',
        checkpoint='work_dirs/wrn40-2_cifar100/epoch_240.pth'))
