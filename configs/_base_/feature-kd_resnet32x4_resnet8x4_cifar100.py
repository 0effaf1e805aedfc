# FeatureKD on CIFAR-100: resnet32x4 teaches resnet8x4; a config of a method adds its terms. Train the teacher first.
_base_ = '../baselines/resnet8x4_cifar100.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet32x4_cifar100.py',
        checkpoint='work_dirs/resnet32x4_cifar100/epoch_240.pth'))
