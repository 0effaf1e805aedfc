"""SimKD on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

A linear projector, multiplied into the teacher's classifier at the end.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(type='mmkd.SimKD')
