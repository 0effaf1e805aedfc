"""Small networks, and how they are compared."""

import pytest
import torch

from mmkd.errors import UserError
from mmkd.teacher.network import Teacher

RUNNING = ('backbone', 'neck')
RESNET = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def config(depth=18, classes=10, **backbone):
    backbone = dict(dict(type='ResNet_CIFAR', depth=depth, stem_channels=4, base_channels=4), **backbone)
    head = dict(type='LinearClsHead', num_classes=classes, in_channels=32)
    model = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    return dict(default_scope='mmpretrain', model=model, data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6]))


def network(**kwargs):
    torch.manual_seed(1)
    teacher = Teacher(config(**kwargs), None, RUNNING).network
    for buffer in teacher.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2)
    return teacher


def same(network, state):
    own = network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


def fails(build, *args):
    with pytest.raises(UserError) as caught:
        build(*args)
    assert '\n' not in str(caught.value)
    return str(caught.value)
