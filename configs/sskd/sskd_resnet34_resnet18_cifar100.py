"""SSKD on CIFAR-100: ResNet-34 teaches ResNet-18, both with the CIFAR stem. Train the teacher first."""
_base_ = '../baselines/resnet18_cifar100.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet34_cifar100.py',
        checkpoint='work_dirs/resnet34_cifar100/epoch_240.pth'))
