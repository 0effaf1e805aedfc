"""A teacher on CIFAR-100 enlarged to 64x64 pixels: ResNet-50 as for ImageNet, 23.7M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
Its student is mobilenet-v2_cifar100-64px.py, and a teacher sees the images of its student.
"""
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../_base_/datasets/cifar100_npz_64px.py',
    '../_base_/schedules/cifar100_240e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
