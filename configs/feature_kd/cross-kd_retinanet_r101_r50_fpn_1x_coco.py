"""CrossKD on COCO: mmdet's trained RetinaNet R-101 teaches RetinaNet R-50, boxes by their generalised IoU."""
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth'),
    terms=dict(
        classes=dict(loss=dict(type='mmkd.CrossKDClassLoss'), places='cross_scores'),
        boxes=dict(loss=dict(type='mmkd.CrossKDBoxLoss'), places='cross_boxes')))
