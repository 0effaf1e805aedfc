import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmkd.errors import UserError
from mmkd.models import CIFARResNet, CIFARWideResNet
from mmkd.models.cifar import BasicBlock, PreActBlock

X4 = (32, 64, 128, 256)
# Millions of parameters as published with the protocol, including a linear layer for 100 classes.
NETWORKS = {
    'resnet20': (dict(type='mmkd.CIFARResNet', depth=20), 64, 0.28),
    'resnet56': (dict(type='mmkd.CIFARResNet', depth=56), 64, 0.86),
    'resnet8x4': (dict(type='mmkd.CIFARResNet', depth=8, widths=X4), 256, 1.23),
    'resnet32x4': (dict(type='mmkd.CIFARResNet', depth=32, widths=X4), 256, 7.43),
    'wrn16-2': (dict(type='mmkd.CIFARWideResNet', depth=16, widen_factor=2), 128, 0.70),
    'wrn40-2': (dict(type='mmkd.CIFARWideResNet', depth=40, widen_factor=2), 128, 2.26),
}


@pytest.mark.parametrize(('config', 'width', 'millions'), NETWORKS.values(), ids=NETWORKS)
def test_parameters_and_shapes(config, width, millions):
    network = MODELS.build(config)
    head = nn.Linear(width, 100)
    count = sum(parameter.numel() for module in (network, head) for parameter in module.parameters())
    assert round(count / 1e6, 2) == millions
    (feature,) = network(torch.randn(2, 3, 32, 32))
    assert feature.shape == (2, width, 8, 8)
    assert feature.min() == 0  # behind a ReLU
    feature.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_depth_counts_the_layers_with_weights_on_the_main_path():
    def layers(network):
        return sum(isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) for module in network.modules())

    assert layers(CIFARResNet(20)) + 1 == 20  # the linear layer
    assert layers(CIFARResNet(56)) + 1 == 56
    assert layers(CIFARWideResNet(16)) + 3 == 16  # wrn counts the convolutions of the shortcuts instead
    assert layers(CIFARWideResNet(40)) + 3 == 40


@pytest.mark.parametrize(
    ('network', 'order', 'groups'),
    [
        (CIFARResNet(8), 'conv1 bn1 relu layer1 layer2 layer3', {'layer1': 32, 'layer2': 16, 'layer3': 8}),
        (CIFARWideResNet(10), 'conv1 block1 block2 block3 bn1 relu', {'block1': 32, 'block2': 16, 'block3': 8}),
    ],
    ids=['resnet', 'wrn'],
)
def test_children_run_in_their_order_and_the_last_emits_the_feature(network, order, groups):
    called = {}
    for name, child in network.named_children():
        child.register_forward_hook(lambda module, args, output, name=name: called.update({name: output}))
    (feature,) = network(torch.randn(1, 3, 32, 32))
    assert list(called) == [name for name, _ in network.named_children()] == order.split()
    assert called[order.split()[-1]] is feature
    assert {name: called[name].shape[-1] for name in groups} == groups


@pytest.mark.parametrize('network', [CIFARResNet(8), CIFARWideResNet(10)], ids=['resnet', 'wrn'])
def test_a_groups_output_is_not_changed_by_what_follows(network):
    """In-place activations must not change the features that a distiller compares."""
    kept = []
    for child in network.children():
        if isinstance(child, nn.Sequential):
            child.register_forward_hook(lambda module, args, output: kept.append((output, output.detach().clone())))
    network(torch.randn(1, 3, 32, 32))
    assert len(kept) == 3
    assert all(torch.equal(output, copy) for output, copy in kept)


def convolve(x, convolution):
    weight, stride = convolution.weight.detach().numpy(), convolution.stride[0]
    pad = weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum('nchwij,ocij->nohw', windows, weight)


def normalise(x, norm):
    """Compute batch norm in evaluation mode."""
    mean, var, weight, bias = (
        tensor.detach().numpy()[:, None, None]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / np.sqrt(var + norm.eps) * weight + bias


def relu(x):
    return np.maximum(x, 0)


def ready(block):
    """A block whose norms have random statistics and affine parameters, and an input."""
    torch.manual_seed(0)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    x = torch.randn(2, 4, 6, 6)
    return block.eval(), x, x.numpy()


SHAPES = pytest.mark.parametrize(('width', 'stride'), [(4, 1), (4, 2), (6, 1), (6, 2)])


@SHAPES
def test_basic_block_by_hand(width, stride):
    block, x, array = ready(BasicBlock(4, width, stride))
    out = relu(normalise(convolve(array, block.conv1), block.bn1))
    out = normalise(convolve(out, block.conv2), block.bn2)
    if width != 4 or stride != 1:
        array = normalise(convolve(array, block.shortcut[0]), block.shortcut[1])
    np.testing.assert_allclose(block(x).detach(), relu(out + array), rtol=1e-4, atol=1e-4)


@SHAPES
def test_pre_activation_block_by_hand(width, stride):
    block, x, array = ready(PreActBlock(4, width, stride))
    start = relu(normalise(array, block.bn1))
    out = relu(normalise(convolve(start, block.conv1), block.bn2))
    if width != 4 or stride != 1:
        array = convolve(start, block.shortcut)
    np.testing.assert_allclose(block(x).detach(), array + convolve(out, block.conv2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('network', [CIFARResNet(20), CIFARWideResNet(16)], ids=['resnet', 'wrn'])
def test_initialised_by_he(network):
    network.init_weights()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            std = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            error = 5 / module.weight.numel() ** 0.5  # five standard deviations of the mean
            assert module.weight.mean().item() == pytest.approx(0, abs=error * std)
            assert module.weight.std().item() == pytest.approx(std, rel=error)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize('depth', [2, 19, 21, 0, -4])
def test_resnet_of_another_depth(depth):
    with pytest.raises(UserError, match=rf'CIFARResNet: depth must be 6n\+2 .* not {depth}'):
        CIFARResNet(depth)


@pytest.mark.parametrize('depth', [4, 20, 41])
def test_wide_resnet_of_another_depth(depth):
    with pytest.raises(UserError, match=rf'CIFARWideResNet: depth must be 6n\+4 .* not {depth}'):
        CIFARWideResNet(depth)


def test_the_nearest_depths_are_offered():
    with pytest.raises(UserError, match=r'e\.g\. 14 or 20, not 18'):
        CIFARResNet(18)


def test_other_number_of_widths():
    with pytest.raises(UserError, match=r'widths must be four numbers'):
        CIFARResNet(20, widths=(16, 32, 64))


def test_needs_no_toolbox():
    code = 'import sys, mmkd.models; print([name for name in sys.modules if name in ("mmpretrain", "mmdet")])'
    assert subprocess.check_output([sys.executable, '-c', code], text=True, timeout=120).strip() == '[]'
