"""FSP as it was published, on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

Alone for 30 epochs, then labels alone for 240.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    labels_from=1 / 9,
    terms=dict(
        fsp=dict(
            loss=dict(type='mmkd.FSPLoss'),
            places=['relu', 'layer1', 'layer2', 'layer3'],
            until=1 / 9)))
param_scheduler = dict(milestones=[180, 210, 240])
train_cfg = dict(max_epochs=270)
