"""ReviewKD on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first.

Behind the ReLU; a warm-up of 20 epochs.
"""
_base_ = '../_base_/feature-kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    terms=dict(
        review_kd=dict(
            loss=dict(type='mmkd.ReviewKDLoss', loss_weight=5.0),
            places=['layer1', 'layer2', 'layer3', 'embedding'],
            warm_up=1 / 12)))
