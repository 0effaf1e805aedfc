"""FeatureKD on CIFAR-100: resnet56 teaches resnet20. Train the teacher first."""
_base_ = '../baselines/resnet20_cifar100.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet56_cifar100.py',
        checkpoint='work_dirs/resnet56_cifar100/epoch_240.pth'))
