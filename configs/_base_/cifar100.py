# All of a CIFAR-100 training but its model: the data, the usual protocol's schedule, and the last checkpoint only.
_base_ = [
    'datasets/cifar100_npz.py',
    'schedules/cifar100_240e.py',
    'mmpretrain::_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
