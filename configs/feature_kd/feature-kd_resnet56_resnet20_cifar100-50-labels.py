"""FeatureKD on CIFAR-100 with 50 labels a class: features and soft targets of all images. Train the teacher first."""
_base_ = ['../baselines/resnet20_cifar100-50-labels.py', '../_base_/datasets/cifar100_npz_unlabelled.py']
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    weight=2.0,
    terms=dict(soft=dict(loss=dict(type='mmkd.SoftTargetLoss'), places='scores')),  # classes from all images
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet56_cifar100.py',
        checkpoint='work_dirs/resnet56_cifar100/epoch_240.pth'))
