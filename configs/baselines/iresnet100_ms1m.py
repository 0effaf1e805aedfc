"""iResNet-100, 65M parameters: a teacher, on MS1MV3, by ArcFace."""
_base_ = [
    '../_base_/datasets/ms1m.py',
    '../_base_/schedules/ms1m_20e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    type='mmkd.FaceRecognizer',
    flip=True,
    backbone=dict(type='mmkd.IResNet', depth=100),
    head=dict(type='ArcFaceClsHead', num_classes=93431, in_channels=512, scale=64.0, margins=0.5))
