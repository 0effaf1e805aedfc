import copy
import io

import pytest
import torch
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch import nn
from torch.nn import functional as F

from mmkd.acceleration.batchnorm_folding import FrozenNorms, find_pairs, fold, unfold
from mmkd.features.capture import tensors_in
from tests.stage_networks import BACKBONES, build


class Network(nn.Module):
    """A backbone that extracts features with its own modules."""

    def __init__(self, run, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.run = run

    def extract_feat(self, x):
        return self.run(self, x)


class NormAndActivation(nn.BatchNorm2d):
    """A norm and an activation in one module, as in timm."""

    def forward(self, x):
        return super().forward(x).relu()


def conv(bias=False) -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1, bias=bias)


def norm() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(3)


def lively(network: nn.Module) -> nn.Module:
    """Set statistics as after a training; with the initial ones folding would change next to nothing."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            ranges = {'weight': (0.5, 1.5), 'bias': (-1, 1), 'running_mean': (-1, 1), 'running_var': (0.5, 2)}
            for name, limits in ranges.items():
                getattr(module, name).data.uniform_(*limits, generator=draw)
    network.eval()
    return network.requires_grad_(False)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


SHAPES = {
    'a pair': (lambda n, x: n.b(n.a(x)), True),
    'a relu between': (lambda n, x: n.b(n.a(x).relu()), False),
    'a relu in place between': (lambda n, x: n.b(n.a(x).relu_()), False),
    'the convolution is read twice': (lambda n, x: n.b(y := n.a(x)) + y, False),
    'the convolution runs twice': (lambda n, x: n.b(n.a(n.a(x))), False),
    'the norm runs twice': (lambda n, x: n.b(n.b(n.a(x))), False),
    'one convolution, two calls of both': (lambda n, x: n.b(n.a(x)) + n.b(n.a(2 * x)), False),
}


@pytest.mark.parametrize(('run', 'pairs'), SHAPES.values(), ids=SHAPES)
def test_only_what_nothing_else_reads_is_a_pair(run, pairs, images):
    network = lively(Network(run, a=conv(), b=norm()))
    expected = network.extract_feat(images)
    found = find_pairs(network, images)
    assert found == ([('a', 'b')] if pairs else [])
    fold(network, found)
    torch.testing.assert_close(network.extract_feat(images), expected)


@pytest.mark.parametrize(
    'modules',
    [
        dict(a=conv(), b=nn.BatchNorm2d(3, track_running_stats=False)),
        dict(a=conv(), b=nn.InstanceNorm2d(3)),
        dict(a=nn.ConvTranspose2d(3, 3, 3), b=norm()),
        dict(a=conv(), b=NormAndActivation(3)),
    ],
)
def test_other_layers_are_no_pair(modules, images):
    assert not find_pairs(Network(lambda n, x: n.b(n.a(x)), **modules), images)


def test_the_norm_of_several_devices_is_folded(images):
    network = lively(Network(SHAPES['a pair'][0], a=conv(), b=SyncBatchNorm(3)))
    expected = network.extract_feat(images)
    fold(network, find_pairs(network, images))
    assert not isinstance(network.b, SyncBatchNorm)
    torch.testing.assert_close(network.extract_feat(images), expected)


def test_what_something_reads_is_no_pair(images):
    network = Network(SHAPES['a pair'][0], a=conv(), b=norm())
    assert find_pairs(network, images, ['b'])
    assert not find_pairs(network, images, ['a'])


def test_what_contains_the_convolution_but_not_the_norm_may_be_read(images):
    network = Network(lambda n, x: n.b(n.a(x)), a=nn.Sequential(conv()), b=norm())
    assert find_pairs(network, images) == [('a.0', 'b')]
    assert not find_pairs(network, images, ['a'])
    assert find_pairs(Network(lambda n, x: n.a(x), a=nn.Sequential(conv(), norm())), images, ['a'])


def test_a_convolution_of_two_names_is_no_pair(images):
    shared = conv()
    assert not find_pairs(Network(lambda n, x: n.b(n.c(x)), a=shared, c=shared, b=norm()), images)


def test_a_norm_that_is_called_by_keyword_is_no_pair(images):
    assert not find_pairs(Network(lambda n, x: n.b(input=n.a(x)), a=conv(), b=norm()), images)


def test_looking_for_pairs_changes_nothing(images):
    network = Network(SHAPES['a pair'][0], a=conv().requires_grad_(False), b=norm())
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    find_pairs(network, images)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert not network.a.weight.requires_grad
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize('name', BACKBONES)
def test_a_folded_backbone_puts_out_the_same(name):
    network, side = build(name)
    # Rounding grows through hundreds of layers; two networks compute positions in single precision all the same.
    kind, bound = (torch.float, 1e-4) if name in ('EdgeNeXt', 'XCiT') else (torch.double, 1e-6)
    lively(network).to(kind)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)).to(kind)
    with torch.no_grad():
        expected = tensors_in(network.extract_feat(images))
        pairs = find_pairs(network, images)
        fold(network, pairs)
        folded = tensors_in(network.extract_feat(images))
    for one, other in zip(folded, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=10 * bound, atol=bound * other.abs().max().item())
    if name in ('ResNet', 'MobileNetV2', 'RegNet', 'CSPResNet'):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.fixture
def pair(images):
    network = lively(Network(SHAPES['a pair'][0], a=conv(bias=True), b=norm()))
    norms = FrozenNorms(network, find_pairs(network, images))
    norms.refresh()
    return network, norms


def unfolded(network: nn.Module) -> nn.Module:
    twin = copy.deepcopy(network)
    unfold(twin)
    return twin


def norms_that_run(network, images, monkeypatch) -> int:
    calls = []
    real = F.batch_norm
    with monkeypatch.context() as patch:
        patch.setattr(F, 'batch_norm', lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
        network.extract_feat(images)
    return len(calls)


def test_a_frozen_norm_does_not_run(pair, images, monkeypatch):
    network, _ = pair
    twin = unfolded(network)
    assert norms_that_run(network, images, monkeypatch) == 0
    assert norms_that_run(twin, images, monkeypatch) == 1
    torch.testing.assert_close(network.extract_feat(images), twin.extract_feat(images))


def test_what_does_not_run_takes_no_memory(pair, images):
    network, _ = pair
    assert vars(network.a)['forward'].weight is None
    with torch.inference_mode():
        network.extract_feat(images)
    assert not vars(network.a)['forward'].weight.is_inference(), 'it could not be used for a gradient'


def test_hooks_still_run(pair, images):
    network, _ = pair
    seen = []
    for module in (network.a, network.b):
        module.register_forward_hook(lambda *call: seen.append(call))
    network.extract_feat(images)
    assert len(seen) == 2


@pytest.mark.parametrize(
    'thaw', [lambda n: n.b.train(), lambda n: n.a.requires_grad_(), lambda n: n.b.requires_grad_()]
)
def test_what_learns_is_unfolded(thaw, pair, images, monkeypatch):
    network, norms = pair
    thaw(network)
    norms.refresh()
    assert norms_that_run(network, images, monkeypatch) == 1


def test_what_is_saved_stays_the_same(pair, images):
    network, _ = pair
    before = copy.deepcopy(network.state_dict())
    network.extract_feat(images)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    torch.save(network.state_dict(), io.BytesIO())


def test_it_is_folded_again_when_it_is_refreshed(pair, images):
    network, norms = pair
    before = network.extract_feat(images)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(1)
    assert torch.equal(network.extract_feat(images), before)  # the layer was folded and does not notice the change
    norms.refresh()
    torch.testing.assert_close(network.extract_feat(images), unfolded(network).extract_feat(images))


def test_gradients_pass_through_what_is_frozen(pair, images):
    network, _ = pair
    grads = []
    for version in (network, unfolded(network)):
        x = images.clone().requires_grad_()
        version.extract_feat(x).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
