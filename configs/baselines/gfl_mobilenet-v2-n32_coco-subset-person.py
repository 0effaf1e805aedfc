"""The teacher of the COCO subset's persons with pyramid and head 32 channels wide: a student with ImageNet weights."""
_base_ = 'gfl_mobilenet-v2_coco-subset-person.py'
model = dict(neck=dict(out_channels=32), bbox_head=dict(in_channels=32, feat_channels=32))
