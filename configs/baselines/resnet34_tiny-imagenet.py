"""A teacher on Tiny ImageNet alone: ResNet-34 with the CIFAR stem, 21.4M parameters."""
_base_ = [
    'mmpretrain::_base_/models/resnet34_cifar.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/tiny_imagenet_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=200))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
