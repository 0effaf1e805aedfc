"""SSKD on ImageNet: mmpretrain's trained ResNet-34 teaches ResNet-18."""
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmpretrain::resnet/resnet34_8xb32_in1k.py',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth'))
