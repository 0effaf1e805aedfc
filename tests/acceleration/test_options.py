import copy
import functools

import pytest
import torch
from torch import nn

from mmkd.acceleration.batchnorm_folding import FrozenNorms, find_pairs, unfold
from mmkd.acceleration.options import SpeedUps, find_parts, put_channels_last
from mmkd.errors import UserError
from mmkd.features.capture import run_to
from mmkd.stages.plan import plan_stages
from tests.stage_networks import build


class Chain(nn.Module):
    """A network of consecutive parts with convolutions and norms."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def extract_feat(self, x):
        for part in self.parts:
            x = part(x)
        return x


def part(width: int = 4) -> nn.Sequential:
    convolutions = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.Conv2d(width, 3, 3, padding=1, bias=False)
    return nn.Sequential(convolutions[0], nn.BatchNorm2d(width), nn.ReLU(), convolutions[1], nn.BatchNorm2d(3))


def compile_parts(network: nn.Module, images: torch.Tensor, read: set, backend) -> None:
    """Apply the options as a distiller does at its start, then train."""
    speed_ups = SpeedUps(compile=dict(backend=backend))
    speed_ups.apply('model.student', network, images[:1], read)
    speed_ups.active = True


class Counting:
    """A compiler backend that counts its graphs."""

    def __init__(self):
        self.graphs = []
        self.variable = False  # whether a graph has dynamic shapes

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        self.variable |= any(isinstance(one, torch.SymInt) for one in inputs)
        return graph.forward


@pytest.fixture(autouse=True)
def fresh():
    """Forget what other tests compiled, and their limits."""
    config = torch._dynamo.config
    with config.patch(cache_size_limit=8, accumulated_cache_size_limit=256):
        yield
    torch.compiler.reset()


@pytest.fixture
def backend() -> Counting:
    return Counting()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def as_it_is(network: nn.Module) -> nn.Module:
    """A copy without compiling or folding."""
    twin = copy.deepcopy(network)
    unfold(twin)
    return twin


# Which parts


@pytest.mark.parametrize('name', ['ResNet', 'ResNet_CIFAR', 'SwinTransformer', 'VisionTransformer', 'HRNet'])
def test_a_part_lies_within_a_stage_and_what_runs_lies_in_a_part(name):
    network, side = build(name)
    images = torch.rand(2, 3, side, side)
    read = {stage.end for stage in plan_stages(network, images).stages}
    parts = find_parts(network, images, read)
    modules = dict(network.named_modules())
    assert not any(end.startswith(f'{part}.') for part in parts for end in read)
    held = {module for part in parts for module in modules[part].modules()}
    outside = [name for name, module in modules.items() if module not in held and list(module.parameters(False))]
    weights = sum(parameter.numel() for name in outside for parameter in modules[name].parameters(False))
    assert weights < 0.25 * sum(parameter.numel() for parameter in network.parameters()), outside


def test_where_nothing_is_read_the_backbone_is_one_part():
    network, side = build('ResNet')
    assert find_parts(network, torch.rand(2, 3, side, side), set())[0] == 'backbone'


# What compiled parts compute


def compiled(backend, *parts) -> tuple[Chain, FrozenNorms]:
    network = Chain(*parts)
    images = torch.rand(2, 3, 8, 8)
    norms = FrozenNorms(network, find_pairs(network, images))
    compile_parts(network, images, set(), backend)
    return network, norms


def test_frozen_norms_are_followed_wherever_they_change_and_nothing_is_compiled_again(backend, images):
    network, norms = compiled(backend, part())
    network.extract_feat(images)

    def follows() -> bool:
        return torch.allclose(
            network.extract_feat(images), as_it_is(network).extract_feat(images), rtol=1e-4, atol=1e-5
        )

    network.eval().requires_grad_(False)
    norms.refresh()
    before = len(backend.graphs) + 1
    assert follows()
    assert len(backend.graphs) == before
    assert not any('batch_norm' in str(node.target) for node in backend.graphs[-1].graph.nodes)
    for _ in range(20):  # validation, checkpoints and averaging
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.1)
        norms.refresh()
        assert follows()
    assert len(backend.graphs) == before
    network.train().requires_grad_()
    norms.refresh()
    assert follows()
    network.eval().requires_grad_(False)
    norms.refresh()
    assert follows()


def test_parts_of_one_kind_are_all_compiled_in_all_their_states_each_for_its_size(backend, images):
    smaller = [nn.Sequential(nn.MaxPool2d(2), *part()) for _ in range(2)]
    network, norms = compiled(backend, part(), *smaller)
    for learned in (0, 1, 2, 1):
        network.eval().requires_grad_(False)
        network.parts[learned].train().requires_grad_()
        norms.refresh()
        for gradient in (True, False):
            with torch.set_grad_enabled(gradient):
                network.extract_feat(images)
    before = len(backend.graphs)
    network.extract_feat(images)
    assert len(backend.graphs) == before > 8
    assert not backend.variable
    frames = torch._dynamo.utils.counters['frames']
    assert frames['total'] == frames['ok']


@pytest.mark.parametrize(
    ('backend', 'dtype'),
    [
        ('aot_eager', None),
        ('aot_eager', torch.bfloat16),
        pytest.param('inductor', None, marks=pytest.mark.long),
        pytest.param('inductor', torch.bfloat16, marks=pytest.mark.long),
    ],
)
def test_gradients_are_the_same_behind_a_frozen_part(backend, dtype, images):
    network = Chain(part(), part())
    plain = copy.deepcopy(network)
    compile_parts(network, images, set(), backend)
    found = []
    for one in (network, plain):
        one.parts[0].eval().requires_grad_(False)
        norms = FrozenNorms(one, find_pairs(one, images))
        norms.refresh()
        for batch in (images, images[:1], images.repeat(1, 1, 2, 1)):  # a smaller last batch, another image size
            with torch.autocast('cpu', dtype, enabled=dtype is not None):
                feature = one.extract_feat(batch).float()
            (feature * torch.linspace(-1, 1, feature.numel()).view_as(feature)).sum().backward()
        found.append([parameter.grad for parameter in one.parts[1].parameters()] + list(one.parts[1].buffers()))
    for own, expected in zip(*found, strict=True):
        own, expected = own.float(), expected.float()
        assert (own - expected).norm() <= (1e-4 if dtype is None else 0.1) * expected.norm()


def test_a_copy_is_not_compiled_and_what_is_saved_stays_the_same(backend, images):
    network, _ = compiled(backend, part())
    assert list(network.state_dict()) == list(Chain(part()).state_dict())
    twin = copy.deepcopy(network)
    before = len(backend.graphs)
    twin.extract_feat(images)
    assert len(backend.graphs) == before


@pytest.mark.parametrize('name', ['ResNet', 'SwinTransformer', 'VisionTransformer'])
def test_a_network_is_left_at_a_stages_end(name, backend):
    network, side = build(name)
    network.eval()
    images = torch.rand(2, 3, side, side)
    plan = plan_stages(network, images)
    with torch.no_grad():
        expected = [run_to(network, [stage], images)[0] for stage in plan.stages]
        compile_parts(network, images, {stage.end for stage in plan.stages}, backend)
        assert backend.graphs
        assert plan_stages(network, images) == plan
        ran = []

        def watched(path, call, *args, **kwargs):
            ran.append(path)
            return call(*args, **kwargs)

        for path in find_parts(network, images, {stage.end for stage in plan.stages}):
            module = network.get_submodule(path)
            call = module._compiled_call_impl
            module._compiled_call_impl = functools.partial(watched, path, call)
        for stage, feature in zip(plan.stages, expected):
            ran.clear()
            for own, known in zip(run_to(network, [stage], images)[0], feature, strict=True):
                torch.testing.assert_close(own, known)
            later = plan.stages[plan.stages.index(stage) + 1 :]
            assert ran
            assert not set(ran) & {path for other in later for path in other.modules}


# Mistakes


@pytest.mark.parametrize(
    ('compile', 'message'),
    [
        ('yes', "must be True or a dict of torch.compile's options"),
        (3, 'must be True or a dict'),
        (dict(backend='nowhere'), r"\{'backend': 'nowhere'\} does not work here \(InvalidBackend: Invalid backend"),
        (dict(backend=3), r'does not work here \(TypeError'),
        (dict(mode='quick'), r'does not work here \(RuntimeError: Unrecognized mode=quick'),
        (dict(options=dict(nonsense=1)), r'does not work here \(RuntimeError: Unexpected optimization option nonsense'),
        (dict(nonsense=1), r'does not work here \(TypeError'),
    ],
)
def test_options_that_do_not_fit(compile, message):
    with pytest.raises(UserError, match=f'^model.compile: .*{message}') as error:
        SpeedUps(compile=compile)
    assert len(str(error.value)) < 400


def test_a_machine_without_a_compiler():
    from torch._inductor import config

    absent = config.patch({'cpp.cxx': ('no-such-compiler',), 'force_disable_caches': True})
    said = r'^model\.compile: .*InvalidCxxCompiler: No working C\+\+ compiler found'
    with absent, pytest.raises(UserError, match=said):
        SpeedUps(compile=True)


def test_a_part_that_cannot_be_compiled_is_named(images):
    def backend(graph, _inputs):
        if any('conv' in str(node.target) for node in graph.graph.nodes):
            raise RuntimeError('no such operator.\nAnd a long story')
        return graph.forward

    said = (
        r'^model\.compile: model\.student\.parts\.0 cannot be compiled \(RuntimeError: no such operator\); leave it out'
    )
    with pytest.raises(UserError, match=said):
        compile_parts(Chain(part()), images, set(), backend)


def test_off_is_off():
    assert SpeedUps().options is None
    assert SpeedUps(compile=False).options is None
    assert SpeedUps(compile=dict(backend='eager')).options == dict(backend='eager')


def test_a_network_that_needs_its_channels_first_is_told():
    network, side = build('VGG_classifier')
    said = r'^model\.channels_last: model\.teacher cannot run with its channels last \(RuntimeError'
    with pytest.raises(UserError, match=said):
        put_channels_last('model.teacher', network, torch.rand(2, 3, side, side))
