# The COCO subset, persons only.
_base_ = 'coco_subset.py'
metainfo = dict(classes=('person', ))
train_dataloader = dict(dataset=dict(ann_file='annotations/person_train.json', metainfo=metainfo))
val_dataloader = dict(dataset=dict(ann_file='annotations/person_val.json', metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/coco_subset/annotations/person_val.json')
test_evaluator = val_evaluator
