"""iResNet-18, 8 channels wide, on CIFAR-100's classes as people, by ArcFace's head without a margin.

With a margin of 0.3 and a scale of 32 neither this network nor its teacher learns these classes.
"""
_base_ = [
    '../_base_/datasets/cifar100_identities.py',
    '../_base_/schedules/cifar100_identities.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    type='mmkd.FaceRecognizer',
    flip=True,
    backbone=dict(
        type='mmkd.IResNet', depth=18, num_features=128, widths=(8, 8, 16, 32, 64), image_size=32),
    head=dict(type='ArcFaceClsHead', num_classes=80, in_channels=128, scale=16.0, margins=0.0))
randomness = dict(seed=0)
