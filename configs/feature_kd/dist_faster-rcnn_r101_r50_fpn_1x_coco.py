"""DIST on COCO: mmdet's trained Faster R-CNN R-101 teaches Faster R-CNN R-50 to classify its own proposals."""
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth'),
    terms=dict(dist=dict(loss=dict(type='mmkd.DISTLoss', loss_weight=1.0), places='scores')))
