"""A teacher of the usual CIFAR-100 distillation protocol alone: resnet32x4, 7.43M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
"""
_base_ = [
    '../_base_/datasets/cifar100_npz.py',
    '../_base_/schedules/cifar100_240e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmkd.CIFARResNet', depth=32, widths=(32, 64, 128, 256)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=256, loss=dict(type='CrossEntropyLoss')))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
