import random
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.registry import MODELS
from torch import nn

from mmkd.errors import UserError
from mmkd.features.capture import feature_of, replaced
from mmkd.features.capture import run_to as run_to_stages
from mmkd.stages.plan import Stage, plan_stages
from tests.stage_networks import BACKBONES, build


def run_to(network, stage, inputs):
    (feature,) = run_to_stages(network, [stage], inputs)
    return feature


def images(side: int, number: int = 2) -> torch.Tensor:
    return torch.rand(number, 3, side, side, generator=torch.Generator().manual_seed(1))


def make(name: str, **backbone):
    torch.manual_seed(0)
    network, side = build(name, **backbone)
    return network, images(side)


@contextmanager
def recorded(network: nn.Module):
    """Every start and end of a module with its feature, in order."""
    events, handles = [], []
    for name, module in network.named_modules():
        handles += [
            module.register_forward_pre_hook(lambda _m, _a, n=name: events.append((n, 'in', ()))),
            module.register_forward_hook(
                lambda _m, _a, out, n=name: events.append((n, 'out', tuple(t.clone() for t in feature_of(out, 2))))
            ),
        ]
    yield events
    for handle in handles:
        handle.remove()


def same(one, other) -> bool:
    return len(one) == len(other) > 0 and all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other))


def ends(plan) -> list[str]:
    return [stage.end for stage in plan.stages]


@pytest.fixture(scope='module', params=list(BACKBONES))
def planned(request):
    network, inputs = make(request.param)
    return network, inputs, plan_stages(network, inputs)


def test_a_plan_has_stages_and_every_parameter_in_one_of_them(planned):
    network, _, plan = planned
    assert len(plan.stages) >= 3
    assert sorted(name for stage in plan for name in stage.parameters) == sorted(dict(network.named_parameters()))
    assert all(stage.parameters and stage.modules for stage in plan.stages)
    assert {'head.' + name for name, _ in network.head.named_parameters()} <= set(plan.head.parameters)
    strides = [stage.stride for stage in plan.stages]
    assert strides == sorted(strides)


@pytest.mark.parametrize(
    ('name', 'backbone', 'normed'),
    [
        ('ResNet', {}, [True] * 4),  # the sum of two norms
        ('ResNet', dict(norm_cfg=dict(type='BN', affine=False)), [True] * 4),
        ('MobileNetV2', {}, [True] * 4),
        ('VGG', {}, [False] * 3),
        ('VGG_BN', {}, [True] * 3),
        ('ConvNeXt', {}, [False] * 4),  # a layer's scale
        ('SwinTransformer', {}, [False, False, False, True]),
    ],
)
def test_a_stage_knows_whether_a_norm_ends_it(name, backbone, normed):
    network, inputs = make(name, **backbone)
    assert [stage.normed for stage in plan_stages(network, inputs).stages] == normed


def test_a_plan_has_every_innermost_module_in_one_stage_with_its_parameters(planned):
    network, _, plan = planned
    stage_of = {name: stage for stage in plan for name in stage.modules}
    assert len(stage_of) == sum(len(stage.modules) for stage in plan)
    for name, module in network.named_modules():
        if not list(module.children()):
            own = {f'{name}.{parameter}' for parameter, _ in module.named_parameters(recurse=False)}
            assert own <= set(stage_of[name].parameters)
    assert not {'', 'backbone'} & set(stage_of)


def test_running_to_a_stage_is_the_full_forward_cut_off(planned):
    network, inputs, plan = planned
    network.eval()
    with torch.no_grad(), recorded(network) as full:
        network.extract_feat(inputs)
    for stage in plan.stages:
        with torch.no_grad(), recorded(network) as part:
            feature = run_to(network, stage, inputs)
        cut = [i for i, (name, way, _) in enumerate(full) if (name, way) == (stage.end, 'out')][stage.call - 1]
        assert same(feature, full[cut][2])
        assert [event[:2] for event in part] == [event[:2] for event in full[: cut + 1]]  # and nothing after it ran
        assert tuple(tuple(tensor.shape[1:]) for tensor in feature) == stage.shapes
        if len(stage.shapes) == 1:
            assert 0 <= tokens_outside(stage) <= 2


def tokens_outside(stage: Stage) -> int:
    """The number of tokens that a one-tensor feature has beside its grid, 0 for a map."""
    (shape,) = stage.shapes
    if len(shape) == 3:
        assert stage.grid in (shape[:2], shape[1:])
        return 0
    return shape[0] - stage.grid[0] * stage.grid[1]


def test_a_feature_reaches_the_parameters_of_its_stage_and_none_of_later_ones(planned):
    network, inputs, plan = planned
    network.train()
    parameters = dict(network.named_parameters())
    for k, stage in enumerate(plan.stages):
        network.zero_grad()
        sum(tensor.sum() for tensor in run_to(network, stage, inputs)).backward()
        assert [
            name for name in stage.parameters if parameters[name].requires_grad and parameters[name].grad is None
        ] == []
        later = [name for other in [*plan.stages[k + 1 :], plan.head] for name in other.parameters]
        assert [name for name in later if parameters[name].grad is not None] == []


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('ResNet', ['layer1', 'layer2', 'layer3', 'layer4']),
        ('ResNet_CIFAR', ['layer1', 'layer2', 'layer3', 'layer4']),
        ('RegNet', ['layer1', 'layer2', 'layer3', 'layer4']),
        ('MobileNetV2', ['layer2', 'layer3', 'layer5', 'conv2']),
        ('EfficientNet', ['layers.2', 'layers.3', 'layers.4', 'layers.6']),
        ('ShuffleNetV2', ['maxpool', 'layers.0', 'layers.1', 'layers.3']),
        ('DenseNet', ['stages.0', 'stages.1', 'stages.2', 'transitions.3']),
        ('ConvNeXt', ['stages.0', 'stages.1', 'stages.2', 'stages.3']),
        ('VGG', ['features.5', 'features.8', 'features.12']),
        ('VGG_classifier', ['features.5', 'features.8', 'features.12']),
        ('AlexNet', ['features.1', 'features.4', 'features']),
        ('VisionTransformer', ['layers.1', 'layers.3', 'layers.5', 'ln1']),
        ('SwinTransformer', ['stages.0', 'stages.1', 'stages.2', 'norm3']),
        ('HRNet', ['layer1', 'stage2', 'stage3', 'stage4', 'neck.0']),
        ('ConvMixer', ['stages.1', 'stages.3', 'stages.5', 'stages.7']),
    ],
)
def test_where_the_stages_end(name, expected):
    plan = plan_stages(*make(name))
    assert [stage.name for stage in plan.stages] == expected
    assert all(stage.end in (f'backbone.{stage.name}', stage.name) for stage in plan.stages)


@pytest.mark.parametrize(
    ('name', 'strides', 'grid', 'extra'),
    [
        ('ResNet', [4, 8, 16, 32], (2, 2), 0),
        ('ResNet_CIFAR', [1, 2, 4, 8], (4, 4), 0),
        ('VGG', [4, 8, 32], (2, 2), 0),
        ('HRNet', [4, 4, 4, 4, 32], (2, 2), 0),
        ('SwinTransformer', [4, 8, 16, 32], (2, 2), 0),
        ('VisionTransformer', [8, 8, 8, 8], (4, 4), 1),
        ('DistilledVisionTransformer', [8, 8, 8, 8], (4, 4), 2),
        ('MlpMixer', [8, 8, 8, 8], (4, 4), 0),
        ('ViTSAM', [8, 8, 8, 8], (8, 8), 0),
    ],
)
def test_strides_and_grids(name, strides, grid, extra):
    plan = plan_stages(*make(name))
    assert [stage.stride for stage in plan.stages] == strides
    assert plan.stages[-1].grid == grid
    assert tokens_outside(plan.stages[-1]) == extra


def test_tokens_of_a_wide_image_are_laid_out_wide():
    network, _ = make('VisionTransformer')
    wide = plan_stages(network, torch.rand(2, 3, 32, 64))
    assert wide.stages[0].grid == (4, 8)
    assert wide.stages[0].stride == 8


def test_the_head_holds_what_follows_the_last_feature_wherever_it_lives():
    assert {name.rpartition('.')[0] for name in plan_stages(*make('VGG_classifier')).head.parameters} == {
        'backbone.classifier.0',
        'backbone.classifier.3',
        'backbone.classifier.6',
    }
    assert plan_stages(*make('ConvNeXt')).head.parameters[:2] == ('backbone.norm3.weight', 'backbone.norm3.bias')
    head = plan_stages(*make('ResNet')).head
    assert (head.name, head.end, head.shapes, head.stride, head.grid) == ('head', '', (), None, None)
    assert head.parameters == ('head.fc.weight', 'head.fc.bias')
    assert {'neck', 'neck.gap', 'head', 'head.fc'} <= set(head.modules)


def test_a_linear_neck_belongs_to_the_head():
    network, inputs = make('ResNet')
    network.neck = MODELS.build(dict(type='LinearNeck', in_channels=256, out_channels=16, gap_dim=2))
    plan = plan_stages(network, inputs)
    assert ends(plan)[-1] == 'backbone.layer4'
    assert 'neck.fc.weight' in plan.head.parameters


def test_tokens_and_position_belong_to_the_first_stage():
    plan = plan_stages(*make('VisionTransformer'))
    assert {'backbone.cls_token', 'backbone.pos_embed'} <= set(plan.stages[0].parameters)


def test_biases_that_eval_mode_copies_belong_to_the_stage_that_uses_them():
    plan = plan_stages(*make('TinyViT'))
    assert 'backbone.stages.1.blocks.0.attn.attention_biases' in plan.stages[2].parameters


def test_norms_of_inner_outputs_belong_to_the_stage_whose_feature_they_are():
    plan = plan_stages(*make('SwinTransformer', out_indices=(0, 1, 2, 3)))
    assert [stage.name for stage in plan.stages] == ['norm0', 'norm1', 'norm2', 'norm3']
    assert 'backbone.norm0.weight' in plan.stages[0].parameters
    assert 'backbone.stages.0.downsample.reduction.weight' in plan.stages[1].parameters


class Wrapped(nn.Module):
    """A classifier whose backbone has all layers in one module, as TIMMBackbone's may have."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = nn.Sequential(backbone)

    def extract_feat(self, inputs):
        return self.backbone(inputs)


def test_a_wrapped_backbone_is_opened():
    resnet, inputs = make('ResNet')
    plan = plan_stages(Wrapped(resnet.backbone), inputs)
    assert [stage.name for stage in plan.stages] == ['0.layer1', '0.layer2', '0.layer3', '0.layer4']


def test_a_chain_of_blocks_is_opened():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()) for _ in range(4)))

        def forward(self, x):
            return self.blocks(self.stem(x))

    network = Wrapped(nn.Identity())
    network.backbone = Chain()
    plan = plan_stages(network, images(64))
    assert [stage.name for stage in plan.stages] == ['blocks.0', 'blocks.1', 'blocks.2', 'blocks']
    assert plan.stages[0].parameters[:2] == ('backbone.stem.weight', 'backbone.stem.bias')


# A dry run changes nothing


@pytest.mark.parametrize('name', ['ResNet', 'TinyViT', 'EfficientNet'])
@pytest.mark.parametrize('training', [True, False])
def test_planning_changes_nothing(name, training):
    network, inputs = make(name)
    network.train(training)
    for module in list(network.backbone.children())[:3]:
        module.eval()
        module.requires_grad_(False)
    next(network.head.parameters()).requires_grad_(False)

    def state():
        tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        modes = [(module.training, sorted(vars(module)), len(module._forward_hooks)) for module in network.modules()]
        grads = [(parameter.requires_grad, parameter.grad is None) for parameter in network.parameters()]
        return tensors, modes, grads, (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())

    before = state()
    assert ends(plan_stages(network, inputs))
    after = state()
    assert all(torch.equal(tensor, after[0][name]) for name, tensor in before[0].items())
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3][0], after[3][0])
    assert before[3][1:] == after[3][1:]


class Restless(nn.Module):
    """Draws random numbers, counts its calls in a buffer and replaces another, also in evaluation mode; may raise."""

    def __init__(self, fails: bool = False):
        super().__init__()
        self.fails = fails
        self.conv = nn.Conv2d(3, 4, 3)
        self.drawn = None
        self.register_buffer('calls', torch.zeros(()))
        self.register_buffer('last', torch.zeros(()))

    def forward(self, x):
        self.drawn = torch.rand(()) + np.random.rand() + random.random()
        self.calls += 1
        self.last = self.calls * 2
        if self.fails:
            raise ValueError('this size does not fit')
        return self.conv(x)


@pytest.mark.parametrize('fails', [True, False])
def test_a_restless_network_is_put_back_even_if_it_fails(fails):
    network = Wrapped(nn.Identity())
    network.backbone = Restless(fails)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    if fails:
        with pytest.raises(UserError, match=r'cannot run on .* of 8x8 pixels .*this size'):
            plan_stages(network, images(8))
    else:
        assert ends(plan_stages(network, images(8))) == ['backbone.conv']
    assert network.backbone.calls == network.backbone.last == 0
    assert network.backbone.drawn is None
    assert network.training
    assert network.backbone.training
    assert not network.backbone.conv._forward_hooks
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


@pytest.mark.parametrize('name', ['ResNet', 'SwinTransformer', 'TNT', 'HRNet'])
def test_a_batch_of_one_gives_the_same_plan(name):
    network, inputs = make(name)
    assert plan_stages(network, inputs[:1]) == plan_stages(network, inputs)


def test_a_shared_parameter_belongs_to_the_first_stage_that_uses_it():
    network, inputs = make('ResNet_CIFAR')
    first, second = network.backbone.layer4
    second.conv2.weight = second.conv1.weight = first.conv2.weight
    plan = plan_stages(network, inputs, ['layer4.0', 'layer4.1'])
    assert 'backbone.layer4.0.conv2.weight' in plan.stages[0].parameters
    assert {name.rsplit('.', 2)[-2] for name in plan.stages[1].parameters} == {'bn1', 'bn2'}


def test_a_frozen_network_has_the_same_plan():
    network, inputs = make('ResNet')
    free = plan_stages(network, inputs)
    network.requires_grad_(False)
    with torch.no_grad():
        assert plan_stages(network, inputs) == free


# Running to a stage by different calls


def test_train_mode_draws_and_learns_statistics_as_the_full_forward_does():
    networks = [make('ResNet', drop_path_rate=0.5)[0] for _ in range(2)]
    inputs = images(64)
    for k, stage in enumerate(plan_stages(networks[0], inputs).stages):
        torch.manual_seed(k)
        with recorded(networks[0]) as full:
            networks[0].extract_feat(inputs)
        torch.manual_seed(k)
        feature = run_to(networks[1], stage, inputs)
        assert same(feature, next(found for name, way, found in full if (name, way) == (stage.end, 'out')))
        buffers = [dict(network.named_buffers()) for network in networks]
        assert all(
            torch.equal(buffers[0][name], buffers[1][name])
            for name in buffers[0]
            if name.rpartition('.')[0] in stage.modules
        )
        networks[1].load_state_dict(networks[0].state_dict())


@pytest.mark.parametrize('name', ['ResNet', 'SwinTransformer', 'MobileNetV2', 'ConvNeXt'])
def test_checkpointed_activations(name):
    plain, inputs = make(name)
    network, _ = make(name, with_cp=True)
    plan = plan_stages(network, inputs)
    assert plan == plan_stages(plain, inputs)
    parameters = dict(network.named_parameters())
    for k, stage in enumerate(plan.stages):
        torch.manual_seed(k)
        expected = run_to(plain, stage, inputs)
        torch.manual_seed(k)
        feature = run_to(network, stage, inputs)
        assert same(feature, expected)
        network.zero_grad()
        feature[0].sum().backward()
        assert [name for name in stage.parameters if parameters[name].grad is None] == []


@pytest.mark.parametrize('name', ['ResNet', 'SwinTransformer'])
def test_autocast(name):
    network, inputs = make(name)
    network.eval()
    exact = plan_stages(network, inputs)
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        assert plan_stages(network, inputs) == exact
        with recorded(network) as full:
            network.extract_feat(inputs)
        assert run_to(network, exact.stages[0], inputs)[0].dtype == torch.bfloat16
        for stage in exact.stages:
            feature = run_to(network, stage, inputs)
            assert same(feature, next(found for name, way, found in full if (name, way) == (stage.end, 'out')))


def test_channels_last():
    network, inputs = make('ResNet')
    plan = plan_stages(network, inputs)
    network.eval()
    network.to(memory_format=torch.channels_last)
    inputs = inputs.to(memory_format=torch.channels_last)
    assert plan_stages(network, inputs) == plan
    with torch.no_grad(), recorded(network) as full:
        network.extract_feat(inputs)
    for stage in plan.stages:
        feature = run_to(network, stage, inputs)
        assert feature[0].is_contiguous(memory_format=torch.channels_last)
        assert same(feature, next(found for name, way, found in full if (name, way) == (stage.end, 'out')))


@pytest.mark.parametrize('warm', [True, False])
def test_compiled_stages(warm):
    network, inputs = make('ResNet')
    network.eval()
    plan = plan_stages(network, inputs)
    with torch.no_grad():
        expected = [run_to(network, stage, inputs) for stage in plan.stages]
        compiled = [network.get_submodule(stage.end) for stage in plan.stages]
        for module in compiled:
            module.compile(backend='eager')
        calls = [module._compiled_call_impl for module in compiled]
        if warm:
            network.extract_feat(inputs)
        assert plan_stages(network, inputs) == plan
        for stage, feature in zip(plan.stages, expected):
            assert same(run_to(network, stage, inputs), feature)
        inside = plan_stages(network, inputs, ['layer2.0', 'layer3']).stages[0]
        assert same(run_to(network, inside, inputs), [expected_inside(network, inside, inputs)])
    assert [module._compiled_call_impl for module in compiled] == calls
    assert not any(module._forward_hooks for module in network.modules())


def expected_inside(network, stage, inputs) -> torch.Tensor:
    backbone = network.backbone
    x = backbone.layer1(backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(inputs)))))
    assert stage.end == 'backbone.layer2.0'
    return backbone.layer2[0](x)


def test_a_compiled_stage_is_run_compiled():
    network, inputs = make('ResNet_CIFAR')
    stage = plan_stages(network, inputs).stages[0]
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    network.backbone.layer1.compile(backend=backend)
    run_to(network, stage, inputs)
    assert graphs


def test_the_head_and_a_forward_that_goes_another_way():
    network, inputs = make('ResNet_CIFAR')
    plan = plan_stages(network, inputs)
    with pytest.raises(ValueError, match='head'):
        run_to(network, plan.head, inputs)
    stage = Stage('relu', 'backbone.relu', 2, (), 1, (32, 32), (), ())
    with pytest.raises(RuntimeError, match=r'never came to call \d of backbone\.relu'):
        run_to(network, stage, inputs)
    assert not any(module._forward_hooks for module in network.modules())


# Ends that the user names


def test_named_ends_replace_those_found():
    network, inputs = make('ResNet')
    plan = plan_stages(network, inputs, ['layer1.0', 'backbone.layer3'])
    assert ends(plan) == ['backbone.layer1.0', 'backbone.layer3']
    assert [stage.name for stage in plan.stages] == ['layer1.0', 'layer3']
    assert 'backbone.layer1.1.conv1.weight' in plan.stages[1].parameters
    assert 'backbone.layer4.0.conv1.weight' in plan.head.parameters
    assert {'backbone.layer4', 'backbone.layer4.0', 'neck'} <= set(plan.head.modules)
    assert 'backbone.layer1' not in [name for stage in plan for name in stage.modules]
    assert plan_stages(network, inputs, []).stages == ()


def test_a_plan_tells_whether_a_feature_has_numbers_below_0():
    network, inputs = make('ResNet')
    plan = plan_stages(network, inputs, ['layer1', 'layer2.0.bn2', 'layer3.1'])
    assert [stage.signed for stage in plan.stages] == [False, True, False]
    with torch.no_grad():
        network.backbone.layer2[0].bn2.weight.zero_()  # as some recipes begin: the feature is 0, but not for long
    assert plan_stages(network, inputs, ['layer2.0.bn2']).stages[0].signed
    assert not plan_stages(network, inputs, ['neck']).stages[0].signed  # of vectors, too


def test_a_vector_ends_a_stage_where_it_is_named():
    network, inputs = make('ResNet')
    network.eval()
    plan = plan_stages(network, inputs, ['layer1', 'neck'])
    last = plan.stages[-1]
    assert (last.name, last.shapes, last.grid, last.stride) == ('neck', ((256, 1, 1),), (1, 1), 64)
    assert 'backbone.layer4.0.conv1.weight' in last.parameters
    (feature,) = run_to(network, last, inputs)
    (pooled,) = network.extract_feat(inputs)
    assert torch.equal(feature.flatten(1), pooled)
    with torch.no_grad(), replaced(network, {last: (2 * feature,)}):
        doubled = network(inputs, mode='tensor')
    with torch.no_grad():
        assert torch.equal(doubled, network.head((2 * pooled,)))


def test_a_module_that_runs_several_times_ends_a_stage_at_its_last_call():
    network, inputs = make('ResNet')
    network.eval()
    relu, block = (plan_stages(network, inputs, [end]).stages[0] for end in ('layer1.0.relu', 'layer1.0'))
    assert (relu.call, block.call) == (3, 1)
    assert same(run_to(network, relu, inputs), run_to(network, block, inputs))


def test_a_side_branch_belongs_to_the_head_if_no_stage_ends_there():
    network, inputs = make('SwinTransformer', out_indices=(0, 3))
    plan = plan_stages(network, inputs, ['stages.1', 'norm3'])
    assert {'backbone.norm0.weight', 'backbone.norm0.bias'} <= set(plan.head.parameters)
    assert 'backbone.norm0' in plan.head.modules


def test_a_stage_without_parameters_joins_the_one_before():
    network, inputs = make('ResNet')
    assert ends(plan_stages(network, inputs, ['layer1.2', 'layer1', 'layer4'])) == [
        'backbone.layer1',
        'backbone.layer4',
    ]


@pytest.mark.parametrize(
    ('named', 'sentence'),
    [
        (['layr2'], r"No stage can end at 'layr2': ImageClassifier has no such module\. Did you mean .*layer2"),
        (['backbone.layer7'], r'has no such module\. Did you mean backbone\.layer'),
        (['xyzzy'], r'has no such module\.$'),
        (['head.fc'], r"'head\.fc': the module does not run in extract_feat"),
        (['head'], r'does not run in extract_feat'),
        (['layer1', 'backbone.layer1'], r"'backbone\.layer1': it is named twice"),
        (['layer2', 'layer1'], r"out of order: 'layer1' runs before 'backbone\.layer2'"),
    ],
)
def test_named_ends_that_do_not_fit(named, sentence):
    network, inputs = make('ResNet')
    with pytest.raises(UserError, match=sentence):
        plan_stages(network, inputs, named)


def test_what_is_no_network_of_the_toolboxes():
    with pytest.raises(UserError, match='Linear is neither a classifier nor a detector'):
        plan_stages(nn.Linear(2, 2), images(8))


PROPERTY = {name: make(name) for name in ('ResNet_CIFAR', 'VisionTransformer', 'HRNet')}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_ends_in_order_share_out_every_parameter(data):
    network, inputs = PROPERTY[data.draw(st.sampled_from(sorted(PROPERTY)))]
    network.eval()
    with recorded(network) as events:
        network.extract_feat(inputs)
    last = {name: i for i, (name, way, feature) in enumerate(events) if way == 'out' and feature}
    chosen = data.draw(st.sets(st.sampled_from(sorted(set(last) - {'neck', 'neck.1', 'neck.gap'})), max_size=6))
    plan = plan_stages(network, inputs, sorted(chosen, key=last.__getitem__))
    assert Counter(name for stage in plan for name in stage.parameters) == Counter(
        dict(network.named_parameters()).keys()
    )
    assert all(stage.parameters for stage in plan.stages)
    assert set(ends(plan)) <= chosen
    names = [name for stage in plan for name in stage.modules]
    assert len(names) == len(set(names))


# Detectors


def test_a_neck_with_parameters_is_a_stage_with_a_pyramid():
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS as DETECTORS
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    network = DETECTORS.build(
        dict(
            type='RetinaNet',
            data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
            backbone=dict(type='ResNet', depth=18, base_channels=8, frozen_stages=1, norm_eval=True),
            neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, start_level=1,
                      add_extra_convs='on_input', num_outs=5),
            bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1),
        )
    )  # fmt: skip
    inputs = images(64)
    plan = plan_stages(network, inputs)
    assert [stage.name for stage in plan.stages] == ['layer1', 'layer2', 'layer3', 'layer4', 'neck']
    assert [stage.normed for stage in plan.stages] == [True] * 4 + [False]
    neck = plan.stages[-1]
    assert neck.shapes == ((8, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1), (8, 1, 1))
    assert (neck.stride, neck.grid) == (8, (8, 8))
    assert {name.split('.')[0] for name in neck.parameters} == {'neck'}
    assert {name.split('.')[0] for name in plan.head.parameters} == {'bbox_head'}
    assert 'backbone.conv1.weight' in plan.stages[0].parameters  # although the config freezes it
    network.eval()
    with torch.no_grad():
        assert same(run_to(network, neck, inputs), network.extract_feat(inputs))
