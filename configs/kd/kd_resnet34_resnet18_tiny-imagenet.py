"""KD on Tiny ImageNet: ResNet-34 teaches ResNet-18, both with the CIFAR stem. Train the teacher first."""
_base_ = '../baselines/resnet18_tiny-imagenet.py'
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/resnet34_tiny-imagenet.py',
        checkpoint='work_dirs/resnet34_tiny-imagenet/epoch_100.pth'))
