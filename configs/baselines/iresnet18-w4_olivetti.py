"""iResNet-18, 4 channels wide, on the Olivetti faces, by ArcFace."""
_base_ = [
    '../_base_/datasets/olivetti.py',
    '../_base_/schedules/olivetti.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    type='mmkd.FaceRecognizer',
    flip=True,
    backbone=dict(
        type='mmkd.IResNet', depth=18, num_features=128, widths=(4, 4, 8, 16, 32), image_size=64),
    head=dict(type='ArcFaceClsHead', num_classes=30, in_channels=128, scale=32.0, margins=0.3))
randomness = dict(seed=0)
