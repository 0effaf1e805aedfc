"""SSKD on CIFAR-100 with 50 labels a class: stages learn from all images. Train the teacher first."""
_base_ = ['../baselines/resnet20_cifar100-50-labels.py', '../_base_/datasets/cifar100_npz_unlabelled.py']
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    alpha=1.0,  # soft targets teach classes from the images without labels; the teacher had all labels
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet56_cifar100.py',
        checkpoint='work_dirs/resnet56_cifar100/epoch_240.pth'))
