"""A student on CIFAR-100 alone: ResNet-18 with the CIFAR stem, 11.2M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
"""
_base_ = ['mmpretrain::_base_/models/resnet18_cifar.py', '../_base_/cifar100.py']
model = dict(head=dict(num_classes=100))
