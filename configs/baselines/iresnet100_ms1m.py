"""iResNet-100, 65M parameters: a teacher, on MS1MV3, by ArcFace."""
_base_ = './iresnet18_ms1m.py'
model = dict(backbone=dict(depth=100))
