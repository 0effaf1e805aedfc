"""A narrow GFL with three levels on the persons of the COCO subset, from scratch, on images of 192 pixels."""
_base_ = [
    '../_base_/models/gfl_r18-w16.py',
    '../_base_/datasets/coco_subset_person.py',
    '../_base_/schedules/coco_subset.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(bbox_head=dict(num_classes=1))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
train_cfg = dict(max_epochs=24, val_interval=6)
