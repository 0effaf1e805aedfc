import pytest
import torch
from torch.nn import functional as F

import mmkd  # noqa: F401
from mmkd.errors import UserError
from mmkd.models import IResNet, MobileFaceNet
from mmkd.stages.plan import plan_stages

NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
SMALL = dict(depth=18, num_features=12, widths=(4, 4, 6, 8, 10), image_size=40)


def iresnet_names(blocks):
    """Names in the order in which arcface_torch's iresnet.py registers them."""

    def norm(name):
        return [f'{name}.{part}' for part in NORM]

    names = ['conv1.weight', *norm('bn1'), 'prelu.weight']
    for group, count in enumerate(blocks, 1):
        for block in range(count):
            its = f'layer{group}.{block}'
            names += [*norm(f'{its}.bn1'), f'{its}.conv1.weight', *norm(f'{its}.bn2'), f'{its}.prelu.weight']
            names += [f'{its}.conv2.weight', *norm(f'{its}.bn3')]
            if block == 0:
                names += [f'{its}.downsample.0.weight', *norm(f'{its}.downsample.1')]
    return [*names, *norm('bn2'), 'fc.weight', 'fc.bias', *norm('features')]


@pytest.mark.parametrize(
    ('depth', 'blocks', 'parameters'),
    [
        (18, (2, 2, 2, 2), 24_025_600),
        (34, (3, 4, 6, 3), 34_139_328),
        (50, (3, 4, 14, 3), 43_590_848),
        (100, (3, 13, 30, 3), 65_156_160),
    ],
)
def test_iresnets_are_named_and_sized_as_insightfaces(depth, blocks, parameters):
    with torch.device('meta'):
        network = IResNet(depth)
    assert sorted(network.state_dict()) == sorted(iresnet_names(blocks))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert [name for name, its in network.named_parameters() if not its.requires_grad] == ['features.weight']


def mobilefacenet_names(blocks):
    def block(name, activated=True):
        names = [f'{name}.layers.0.weight', *(f'{name}.layers.1.{part}' for part in NORM)]
        return [*names, f'{name}.layers.2.weight'] if activated else names

    def bottleneck(name):
        return [*block(f'{name}.layers.0'), *block(f'{name}.layers.1'), *block(f'{name}.layers.2', False)]

    names = block('layers.0')
    for place, count in zip((1, 3, 5, 7), blocks):
        if (place, count) == (1, 1):
            names += block('layers.1')
        else:
            names += [name for i in range(count) for name in bottleneck(f'layers.{place}.layers.{i}')]
        names += bottleneck(f'layers.{place + 1}') if place < 7 else []
    names += [*block('conv_sep'), *block('features.layers.0', False), 'features.layers.2.weight']
    return [*names, *(f'features.layers.3.{part}' for part in NORM)]


@pytest.mark.parametrize(
    ('options', 'blocks', 'parameters'),
    [
        (dict(), (1, 4, 6, 2), 2_059_520),
        (dict(num_features=128, scale=1), (1, 4, 6, 2), 1_003_136),
        (dict(scale=4, blocks=(2, 8, 12, 4)), (2, 8, 12, 4), None),
    ],
)
def test_mobilefacenets_are_named_and_sized_as_insightfaces(options, blocks, parameters):
    with torch.device('meta'):
        network = MobileFaceNet(**options)
    assert sorted(network.state_dict()) == sorted(mobilefacenet_names(blocks))
    assert parameters in (None, sum(parameter.numel() for parameter in network.parameters()))


def iresnet_by_hand(state, x):
    """Compute the network's output in evaluation mode from its weights."""

    def norm(name, x):
        mean, var = state[f'{name}.running_mean'], state[f'{name}.running_var']
        return F.batch_norm(x, mean, var, state[f'{name}.weight'], state[f'{name}.bias'])

    def conv(name, x, stride=1, padding=1):
        return F.conv2d(x, state[f'{name}.weight'], stride=stride, padding=padding)

    x = F.prelu(norm('bn1', conv('conv1', x)), state['prelu.weight'])
    for group in (1, 2, 3, 4):
        for block in (0, 1):
            its, stride = f'layer{group}.{block}', 2 - block
            out = norm(f'{its}.bn2', conv(f'{its}.conv1', norm(f'{its}.bn1', x)))
            out = norm(f'{its}.bn3', conv(f'{its}.conv2', F.prelu(out, state[f'{its}.prelu.weight']), stride))
            x = out + (x if block else norm(f'{its}.downsample.1', conv(f'{its}.downsample.0', x, 2, 0)))
    x = F.linear(norm('bn2', x).flatten(1), state['fc.weight'], state['fc.bias'])
    return norm('features', x)


def test_an_iresnet_computes_what_it_should():
    torch.manual_seed(0)
    network = IResNet(**SMALL)
    network.init_weights()
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    network.eval()
    images = torch.randn(3, 3, 40, 40)
    with torch.no_grad():
        (embedding,) = network(images)
        torch.testing.assert_close(embedding, iresnet_by_hand(network.state_dict(), images))
    assert embedding.shape == (3, 12)


class Whole(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def extract_feat(self, inputs):
        return self.backbone(inputs)


@pytest.mark.parametrize(
    ('network', 'size', 'stages', 'strides'),
    [
        (lambda: IResNet(**SMALL), 40, ['prelu', 'layer1', 'layer2', 'layer3', 'bn2'], [1, 2, 4, 8, 13]),
        (lambda: IResNet(18, 8, (4, 4, 6, 8, 10)), 112, ['layer2', 'layer3', 'bn2'], [4, 8, 16]),
        (lambda: MobileFaceNet(8, 1), 112, ['layers.3', 'layers.5', 'conv_sep'], [4, 8, 16]),
    ],
)
def test_their_stages_are_found(network, size, stages, strides):
    plan = plan_stages(Whole(network()), torch.randn(2, 3, size, size))
    assert [stage.name for stage in plan.stages] == stages
    assert [stage.stride for stage in plan.stages] == strides
    assert plan.head.parameters


def test_the_embedding_is_a_stage_where_it_is_named():
    plan = plan_stages(Whole(IResNet(**SMALL)), torch.randn(2, 3, 40, 40), ['layer4', 'features'])
    assert [stage.shapes for stage in plan.stages] == [((10, 3, 3),), ((12, 1, 1),)]
    assert 'backbone.fc.weight' in plan.stages[1].parameters


def test_mistakes_are_told():
    with pytest.raises(UserError, match='depth must be one of 18, 34, 50, 100, not 101'):
        IResNet(101)
    with pytest.raises(UserError, match='widths must be five numbers'):
        IResNet(18, widths=(64, 128))
    with pytest.raises(UserError, match='its embedding reads 90 numbers and gets 160; set image_size'):
        IResNet(**SMALL)(torch.randn(2, 3, 56, 56))
    with pytest.raises(UserError, match='blocks must be four numbers'):
        MobileFaceNet(blocks=(1, 2, 3))
    with pytest.raises(UserError, match='the images have 64 pixels a side, its image_size is 112'):
        MobileFaceNet(8, 1)(torch.randn(2, 3, 64, 64))
