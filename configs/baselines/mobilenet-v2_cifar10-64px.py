"""A teacher on CIFAR-10 enlarged to 64x64 pixels: MobileNetV2 with ImageNet weights. docs/data.md has the weights."""
_base_ = [
    'mmpretrain::_base_/models/mobilenet_v2_1x.py',
    '../_base_/datasets/cifar10_npz_64px.py',
    '../_base_/schedules/cifar10.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='data/mobilenet-v2_mmpretrain.pth')),
    head=dict(num_classes=10, topk=(1, )))
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_epochs=5)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
