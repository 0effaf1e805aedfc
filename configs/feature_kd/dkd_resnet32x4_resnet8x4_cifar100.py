"""DKD on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

A warm-up of 20 epochs.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    terms=dict(
        dkd=dict(
            loss=dict(type='mmkd.DKDLoss'),
            places='scores',
            warm_up=1 / 12)))
