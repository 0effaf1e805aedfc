"""KD on CIFAR-100 with 50 labels a class: soft targets on all images. Train the teacher first."""
_base_ = ['../baselines/resnet8x4_cifar100-50-labels.py', '../_base_/datasets/cifar100_npz_unlabelled.py']
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet32x4_cifar100.py',
        checkpoint='work_dirs/resnet32x4_cifar100/epoch_240.pth'))
