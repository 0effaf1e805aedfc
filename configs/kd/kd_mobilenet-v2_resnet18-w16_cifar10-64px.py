"""KD on CIFAR-10 at 64x64 pixels: MobileNetV2 with ImageNet weights teaches a ResNet-18, 16 channels wide.

Train the teacher first.
"""
_base_ = '../baselines/resnet18-w16_cifar10-64px.py'
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/mobilenet-v2_cifar10-64px.py',
        checkpoint='work_dirs/mobilenet-v2_cifar10-64px/epoch_5.pth'))
