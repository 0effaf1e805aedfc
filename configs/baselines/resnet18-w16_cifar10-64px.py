"""A student on CIFAR-10 enlarged to 64x64 pixels: ResNet-18 as for ImageNet, 16 channels wide, from scratch.

It reads data/cifar10.npz: any .npz with train_x, train_y, test_x, test_y.
"""
_base_ = [
    '../_base_/datasets/cifar10_npz_64px.py',
    '../_base_/schedules/cifar10.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=16, base_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, loss=dict(type='CrossEntropyLoss')))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
