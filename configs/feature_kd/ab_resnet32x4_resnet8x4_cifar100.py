"""AB on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

Before the shortcut's sum, for the first 30 epochs, beside the labels.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    terms=dict(
        ab=dict(
            loss=dict(type='mmkd.ABLoss'),
            places=[
                ('layer1.0.bn2', 'layer1.4.bn2'),
                ('layer2.0.bn2', 'layer2.4.bn2'),
                ('layer3.0.bn2', 'layer3.4.bn2')],
            until=0.125)))
