"""FGD on COCO: mmdet's trained RetinaNet R-101 teaches RetinaNet R-50. Published with an X-101 teacher."""
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    _delete_=True,
    type='mmkd.FeatureKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth'),
    head_from_teacher='start',
    terms=dict(fgd=dict(loss=dict(type='mmkd.FGDLoss'), places=['neck'])))
