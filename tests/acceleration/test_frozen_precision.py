"""Frozen parts compute in 16 bits, and the code around them does not notice."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmkd.acceleration.batchnorm_folding import FrozenNorms, find_pairs
from mmkd.acceleration.options import SpeedUps
from mmkd.errors import UserError
from mmkd.features.capture import ModuleOutput, run_to
from mmkd.stages.plan import plan_stages
from mmkd.teacher.network import freeze_modes
from tests.acceleration.test_options import Chain, part
from tests.stage_networks import build

HALF = torch.bfloat16


def put_on(network: nn.Module, images: torch.Tensor, read=(), dtype: str = 'bfloat16', **options) -> SpeedUps:
    """Apply the option as a distiller does at its start, then train."""
    speed_ups = SpeedUps(frozen_dtype=dtype, **options)
    speed_ups.apply('model.student', network, images[:1], read)
    speed_ups.active = True
    return speed_ups


def freeze(network: nn.Module) -> None:
    freeze_modes(network)
    network.requires_grad_(False)


def watch(network: nn.Module) -> dict[str, list]:
    """The dtypes in which convolutions and linear layers compute, by path."""
    seen: dict[str, list] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _m, _a, out, name=name: seen.setdefault(name, []).append(out.dtype))
    return seen


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def chain() -> Chain:
    """A network whose first part is frozen."""
    network = Chain(part(), part())
    freeze(network.parts[0])
    return network


@pytest.mark.parametrize(
    'name', ['ResNet', 'ResNet_CIFAR', 'SwinTransformer', 'VisionTransformer', 'HRNet', 'ConvNeXt']
)
def test_all_of_a_frozen_network_runs_so_and_its_features_are_nearly_the_same(name):
    network, side = build(name)
    freeze(network)
    images = torch.rand(2, 3, side, side)
    stages = plan_stages(network, images).stages
    expected = run_to(network, stages, images)
    speed_ups = put_on(network, images, {stage.end for stage in stages})
    seen = watch(network.backbone)
    found = run_to(network, stages, images)
    assert {dtype for dtypes in seen.values() for dtype in dtypes} == {HALF}
    assert len(seen) >= 8
    for own, other in zip(found, expected, strict=True):
        for one, two in zip(own, other, strict=True):
            assert one.dtype == torch.float32
            assert 0 < (one - two).norm() < 0.02 * two.norm()
    speed_ups.active = False
    for own, other in zip(run_to(network, stages, images), expected, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(own, other, strict=True))


def test_what_learns_stays_in_full_and_so_do_its_gradients(chain, images):
    twin = copy.deepcopy(chain)
    put_on(chain, images, {'parts.0', 'parts.1'})
    seen = watch(chain)
    outputs = []
    for network in (chain, twin):
        outputs.append(network.extract_feat(images))
        outputs[-1].square().sum().backward()
    assert seen == {
        'parts.0.0': [HALF],
        'parts.0.3': [HALF],
        'parts.1.0': [torch.float32],
        'parts.1.3': [torch.float32],
    }
    assert outputs[0].dtype == torch.float32
    for own, other in zip(chain.parameters(), twin.parameters()):
        assert own.dtype == torch.float32
        assert (own.grad is None) == (other.grad is None)
        assert own.grad is None or own.grad.dtype == torch.float32


def test_what_a_gradient_goes_through_stays_in_full(images):
    network = Chain(part(), part())
    freeze(network.parts[1])
    put_on(network, images, {'parts.0', 'parts.1'})
    seen = watch(network)
    network.extract_feat(images).sum().backward()
    assert {dtype for dtypes in seen.values() for dtype in dtypes} == {torch.float32}
    with torch.no_grad():
        network.extract_feat(images)
    assert seen['parts.1.0'] == [torch.float32, HALF]


def test_statistics_that_are_counted_stay_in_full(images):
    """No weight is trained, but the batch norms are in training mode."""
    network = Chain(part()).requires_grad_(False)
    twin = copy.deepcopy(network)
    put_on(network, images)
    network.extract_feat(images), twin.extract_feat(images)
    assert all(torch.equal(own, other) for own, other in zip(network.buffers(), twin.buffers(), strict=True))


def test_what_a_frozen_part_puts_out_may_be_nested(images):
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            y = self.conv(x)
            assert y.dtype == (HALF if speed_ups.active else torch.float32)
            return [y, (3, 4)], dict(y=y, x=x, n=2, double=x.double(), none=None)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Nested()

        def extract_feat(self, x):
            return self.part(x)

    network = Network()
    freeze(network)
    speed_ups = SpeedUps(frozen_dtype='bfloat16')
    speed_ups.apply('model.student', network, images, ())
    speed_ups.active = True
    (y, size), rest = network.extract_feat(images)
    assert y.dtype == rest['y'].dtype == torch.float32
    assert size == (3, 4)
    assert rest['x'] is images
    assert (rest['n'], rest['double'].dtype, rest['none']) == (2, torch.float64, None)


@pytest.mark.parametrize('outer', [torch.bfloat16, torch.float16])
def test_autocast_that_is_on_already_rules(chain, images, outer):
    twin = copy.deepcopy(chain)
    put_on(chain, images)
    with torch.autocast('cpu', outer):
        found, expected = chain.extract_feat(images), twin.extract_feat(images)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_with_folded_norms(chain, images):
    freeze(chain.parts[1])
    expected = chain.extract_feat(images)
    norms = FrozenNorms(chain, find_pairs(chain, images))
    put_on(chain, images)
    norms.refresh()
    seen = watch(chain)
    found = chain.extract_feat(images)
    assert {dtype for dtypes in seen.values() for dtype in dtypes} == {HALF}
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_around_what_is_compiled(chain, images):
    torch.compiler.reset()
    dtypes = []

    def backend(graph, inputs):
        def call(*args):
            outputs = graph(*args)
            dtypes.append(outputs[0].dtype)
            return outputs

        return call

    read = {'parts.0', 'parts.1'}
    twin = copy.deepcopy(chain)
    put_on(twin, images, read)
    put_on(chain, images, read, compile=dict(backend=backend))
    dtypes.clear()
    assert torch.equal(chain.extract_feat(images), twin.extract_feat(images))
    assert dtypes == [HALF, torch.float32]
    torch.compiler.reset()


def test_what_is_saved_stays_the_same_and_a_copy_runs_in_full(chain, images):
    before = {name: tensor.clone() for name, tensor in chain.state_dict().items()}
    expected = chain.eval().extract_feat(images)
    put_on(chain, images)
    after = chain.state_dict()
    assert list(after) == list(before)
    assert all(after[name].dtype == before[name].dtype and torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(copy.deepcopy(chain).extract_feat(images), expected)
    assert not torch.equal(chain.extract_feat(images), expected)


# Mistakes


@pytest.mark.parametrize('dtype', ['half', 'float32', '', 16, True, False, ['bfloat16'], torch.bfloat16])
def test_a_dtype_that_is_none(dtype):
    with pytest.raises(UserError, match=r"^model\.frozen_dtype: it must be None, 'bfloat16' or 'float16', not "):
        SpeedUps(frozen_dtype=dtype)


class Scaled(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.conv, self.factor = nn.Conv2d(3, 3, 1), factor

    def forward(self, x):
        return self.conv(x * self.factor)


def test_numbers_too_large_for_float16_are_told(images):
    said = (
        r'^model\.frozen_dtype: what model\.student computes of the first training sample is too large for float16; '
        r"take 'bfloat16', or leave it out\.$"
    )
    with pytest.raises(UserError, match=said):
        put_on(Chain(Scaled(1e6)), images, dtype='float16')
    put_on(Chain(Scaled(1e6)), images)
    put_on(Chain(Scaled(1)), images, dtype='float16')
    put_on(Chain(Scaled(float('inf'))), images, dtype='float16')  # infinite in float32 as well


def test_a_network_that_cannot_run_in_it_is_told(images):
    class Picky(Scaled):
        def forward(self, x):
            y = super().forward(x)
            if y.dtype != torch.float32:
                raise RuntimeError('"picky" not implemented for \'BFloat16\'\nand a long story')
            return y

    said = (
        r'^model\.frozen_dtype: model\.student cannot run in bfloat16 \(RuntimeError: "picky" not implemented for '
        r"'BFloat16'\); leave it out\.$"
    )
    network = Chain(Picky(1))
    with pytest.raises(UserError, match=said):
        put_on(network, images)


@pytest.mark.parametrize(
    ('dtype', 'device', 'found', 'warns'),
    [
        ('bfloat16', 'cpu', dict(architecture='x86_64', avx512_f=True, avx512_bf16=False, avx512_fp16=True), True),
        ('float16', 'cpu', dict(architecture='x86_64', avx512_bf16=True, amx_fp16=False), True),
        ('bfloat16', 'cpu', dict(architecture='x86_64', avx512_bf16=True), False),
        ('float16', 'cpu', dict(architecture='arm64', fp16_arith=True, bf16=False), False),
        ('bfloat16', 'cuda', dict(architecture='x86_64'), False),
        ('bfloat16', 'cpu', None, False),
    ],
)
def test_a_processor_without_instructions_for_it_is_told_once(dtype, device, found, warns, chain, images, monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.acceleration.instructions.print_log', lambda text, **_: said.append(text))
    monkeypatch.setattr('mmkd.acceleration.frozen_precision.get_device', lambda: device)
    if found is None:  # older versions of torch cannot check this
        monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    else:
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found, raising=False)
    speed_ups = SpeedUps(frozen_dtype=dtype)
    for key in ('model.student', 'model.teacher'):
        speed_ups.apply(key, copy.deepcopy(chain), images[:1], ())
    assert len(said) == warns
    assert all(
        f'model.frozen_dtype: this processor has none of the instructions with which {dtype} pays (' in text
        for text in said
    )


def test_off_is_off(chain, images):
    SpeedUps().apply('model.student', chain, images, ())
    assert all(module._compiled_call_impl is None for module in chain.modules())


# Copies of weights


class Casts(TorchDispatchMode):
    """Counts the bytes that are cast to 16 bits."""

    def __enter__(self):
        self.sizes = Counter()
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get('dtype') == HALF:
            self.sizes[tuple(args[0].shape)] += 1
        return func(*args, **(kwargs or {}))


def weights_cast(network: nn.Module, images: torch.Tensor) -> int:
    shapes = {tuple(p.shape) for p in network.parameters()}
    with Casts() as casts:
        network.extract_feat(images)
    return sum(count for shape, count in casts.sizes.items() if shape in shapes)


@pytest.mark.parametrize('folds', [False, True])
def test_weights_are_cast_once_until_they_change(chain, images, folds):
    freeze(chain)
    twin = copy.deepcopy(chain)
    norms, twins = (FrozenNorms(net, find_pairs(net, images) if folds else []) for net in (chain, twin))
    speed_ups = put_on(chain, images)
    norms.refresh()
    speed_ups.renew()
    first = weights_cast(chain, images)
    assert first >= 4
    assert weights_cast(chain, images) == 0
    before, before_state = chain.extract_feat(images), copy.deepcopy(chain.state_dict())
    assert {p.dtype for p in chain.parameters()} == {torch.float32}
    for parameter in chain.parameters():
        parameter.data.mul_(1.5)  # swapping in averaged weights does this
    norms.refresh()
    speed_ups.renew()
    changed = chain.extract_feat(images)
    assert not torch.equal(changed, before)
    for state, found in ((before_state, before), (chain.state_dict(), changed)):
        twin.load_state_dict(state)
        twins.refresh()
        with torch.autocast('cpu', HALF):
            assert torch.equal(twin.extract_feat(images).float(), found)


def test_weights_are_their_own_again_after_a_forward_that_is_left_early(images):
    network = Chain(nn.Sequential(part(), part()))
    freeze(network)
    own = dict(network.named_parameters())
    put_on(network, images, {'parts.0.0.0'})
    stage = ModuleOutput('parts.0.0.0')
    run_to(network, [stage], images)
    assert all(parameter is own[name] for name, parameter in network.named_parameters())


def test_a_layer_that_computes_with_its_weights_gets_them_in_full(images):
    class Standardised(nn.Conv2d):
        def forward(self, x):
            assert self.weight.dtype == torch.float32
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    network = Chain(nn.Sequential(Standardised(3, 3, 1)))
    freeze(network)
    put_on(network, images)
    network.extract_feat(images)


def test_folded_weights_under_autocast_are_those_that_it_casts(chain, images):
    freeze(chain)
    norms = FrozenNorms(chain, find_pairs(chain, images))
    norms.refresh()
    chain.extract_feat(images)
    first = chain.parts[0][0]
    forward = vars(first)['forward']
    with torch.autocast('cpu', HALF):
        found = first(images)
        expected = first._conv_forward(images, forward.weight, forward.bias)
    assert found.dtype == HALF
    assert torch.equal(found, expected)
