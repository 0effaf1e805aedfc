"""iResNet-34, a teacher, 16 channels wide, on the Olivetti faces, by ArcFace."""
_base_ = './iresnet18-w4_olivetti.py'
model = dict(backbone=dict(depth=34, widths=(16, 16, 32, 64, 128)))
