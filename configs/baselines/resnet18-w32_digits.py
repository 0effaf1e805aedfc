"""The demo's teacher: a ResNet-18 on the handwritten digits, twice as wide as its student."""
_base_ = './resnet18-w16_digits.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    head=dict(in_channels=256))
