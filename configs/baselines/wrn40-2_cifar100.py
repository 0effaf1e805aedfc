"""A teacher of the usual CIFAR-100 distillation protocol alone: wrn40-2, 2.26M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
"""
_base_ = ['../_base_/models/cifar.py', '../_base_/cifar100.py']
model = dict(
    backbone=dict(type='mmkd.CIFARWideResNet', depth=40, widen_factor=2),
    head=dict(in_channels=128))
