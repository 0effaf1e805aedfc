"""MHKD on ImageNet: mmpretrain's trained Swin-S teaches Swin-T."""
_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'
model = dict(
    _delete_=True,
    type='mmkd.MHKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmpretrain::swin_transformer/swin-small_16xb64_in1k.py',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/swin-transformer/swin_small_224_b16x64_300e_imagenet_20210615_110219-7f9d988b.pth'),
    heads=dict(type='mmkd.AuxiliaryHead', stride=2))
