"""SSKD on CIFAR-100 enlarged to 64x64 pixels: ResNet-50 teaches MobileNetV2. Train the teacher first.

mmpretrain's MobileNetV2 has no stem for small images, so both networks are those for ImageNet and the images are larger.
"""
_base_ = '../baselines/mobilenet-v2_cifar100-64px.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet50_cifar100-64px.py',
        checkpoint='work_dirs/resnet50_cifar100-64px/epoch_240.pth'))
