"""SSKD on CIFAR-10 at 64x64 pixels with 50 labels a class for teacher and student; stages learn from all images.

MobileNetV2 with ImageNet weights teaches a ResNet-18, 16 channels wide. Train the teacher first.
"""
_base_ = [
    '../baselines/resnet18-w16_cifar10-64px-50-labels.py',
    '../_base_/datasets/cifar10_npz_64px_unlabelled.py',
]
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    alpha=0.3,  # soft targets teach classes from the images without labels
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/mobilenet-v2_cifar10-64px-50-labels.py',
        checkpoint='work_dirs/mobilenet-v2_cifar10-64px-50-labels/epoch_60.pth'))
