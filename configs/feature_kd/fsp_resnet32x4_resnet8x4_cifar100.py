"""FSP on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

For the first 30 epochs, beside the labels.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    terms=dict(
        fsp=dict(
            loss=dict(type='mmkd.FSPLoss'),
            places=['relu', 'layer1', 'layer2', 'layer3'],
            until=0.125)))
