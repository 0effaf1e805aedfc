"""A student on Tiny ImageNet alone: ResNet-18 with the CIFAR stem, 11.3M parameters."""
_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/tiny_imagenet_100e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=200))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
