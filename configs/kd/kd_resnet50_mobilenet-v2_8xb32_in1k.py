"""KD on ImageNet: mmpretrain's trained ResNet-50 teaches MobileNetV2."""
_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
model = dict(
    _delete_=True,
    type='mmkd.KD',
    student={{_base_.model}},
    teacher=dict(
        config='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'))
