"""DIST on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first."""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    terms=dict(
        dist=dict(
            loss=dict(type='mmkd.DISTLoss', tau=4.0),  # its authors' for CIFAR-100; for a short training 1
            places='scores')))
