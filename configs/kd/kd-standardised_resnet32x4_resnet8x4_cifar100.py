"""KD with logit standardisation on CIFAR-100: resnet32x4 teaches resnet8x4. Train the teacher first."""
_base_ = 'kd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    soft_loss=dict(type='mmkd.SoftTargetLoss', tau=2.0, standardise=True),
    alpha=9.0)
