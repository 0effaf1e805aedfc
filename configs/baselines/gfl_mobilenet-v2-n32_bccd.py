"""A GFL on a MobileNetV2 with ImageNet weights, pyramid and head 32 channels wide, on blood cells (BCCD): a student."""
_base_ = 'gfl_mobilenet-v2_bccd.py'
model = dict(neck=dict(out_channels=32), bbox_head=dict(in_channels=32, feat_channels=32))
