"""CrossKD on COCO: mmdet's trained ATSS R-101 teaches ATSS R-50 classes, boxes and centerness."""
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmdet::atss/atss_r101_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/atss/atss_r101_fpn_1x_coco/atss_r101_fpn_1x_20200825-dfcadd6f.pth'),
    terms=dict(
        classes=dict(loss=dict(type='mmkd.CrossKDClassLoss'), places='cross_scores'),
        boxes=dict(loss=dict(type='mmkd.CrossKDBoxLoss'), places='cross_boxes'),
        center=dict(loss=dict(type='mmkd.CrossKDCenternessLoss'), places='cross_centerness')))
