"""A student on CIFAR-100 enlarged to 64x64 pixels: MobileNetV2 as for ImageNet, 2.35M parameters.

It reads data/cifar100.npz: any .npz with train_x, train_y, test_x, test_y.
mmpretrain's MobileNetV2 has no stem for small images and its strides are fixed: 32x32 pixels end as one. Hence the
larger images. It is not the MobileNetV2 of the usual CIFAR-100 protocol, which is half as wide and strides once less.
"""
_base_ = [
    'mmpretrain::_base_/models/mobilenet_v2_1x.py',
    '../_base_/datasets/cifar100_npz_64px.py',
    '../_base_/schedules/cifar100_240e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=100))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
optim_wrapper = dict(optimizer=dict(lr=0.01))
