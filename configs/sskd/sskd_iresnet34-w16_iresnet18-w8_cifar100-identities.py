"""SSKD on CIFAR-100's classes as people: iResNet-34, 16 channels wide, teaches iResNet-18, 8 wide. Train the teacher first."""
_base_ = '../baselines/iresnet18-w8_cifar100-identities.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/iresnet34-w16_cifar100-identities.py',
        checkpoint='work_dirs/iresnet34-w16_cifar100-identities/epoch_10.pth'))
