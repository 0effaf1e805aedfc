"""iResNet-34, a teacher, 16 channels wide, on CIFAR-100's classes as people, by ArcFace's head without a margin."""
_base_ = './iresnet18-w8_cifar100-identities.py'
model = dict(backbone=dict(depth=34, widths=(16, 16, 32, 64, 128)))
