"""A GFL on a MobileNetV2 with ImageNet weights, pyramid and head 16 channels wide, on blood cells (BCCD): a student."""
_base_ = 'gfl_mobilenet-v2_bccd.py'
model = dict(neck=dict(out_channels=16), bbox_head=dict(in_channels=16, feat_channels=16))
