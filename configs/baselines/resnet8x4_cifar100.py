"""A student of the usual CIFAR-100 distillation protocol alone: resnet8x4, 1.23M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
"""
_base_ = ['../_base_/models/cifar.py', '../_base_/cifar100.py']
model = dict(
    backbone=dict(type='mmkd.CIFARResNet', depth=8, widths=(32, 64, 128, 256)),
    head=dict(in_channels=256))
