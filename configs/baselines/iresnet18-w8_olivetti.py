"""iResNet-18, 8 channels wide, a teacher, on the Olivetti faces, by ArcFace."""
_base_ = './iresnet18-w4_olivetti.py'
model = dict(backbone=dict(widths=(8, 8, 16, 32, 64)))
