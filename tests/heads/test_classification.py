import copy
import subprocess
import sys
from itertools import product

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmkd.errors import UserError
from mmkd.features.layout import Layout
from mmkd.heads import AuxiliaryHead, ToolboxHead
from mmkd.heads.classification import to_map

MAP = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
TOKENS = torch.stack([MAP[:, :, i, j] for i in range(4) for j in range(6)], dim=1)
CHANNELS_LAST = Layout('stage', 3, (4, 6), channels_last=True)


def tokens_layout(prefix: int) -> Layout:
    return Layout('stage', 3, (4, 6), prefix=prefix)


def with_prefix(prefix: int) -> torch.Tensor:
    return torch.cat([torch.full((2, prefix, 3), 1e6), TOKENS], dim=1)


LAID_OUT = {
    'map': (MAP, None),
    'map with a layout': (MAP, Layout('stage', 3, (4, 6))),
    'tokens': (TOKENS, tokens_layout(0)),
    'class token': (with_prefix(1), tokens_layout(1)),
    'class and distillation token': (with_prefix(2), tokens_layout(2)),
    'channels last': (MAP.permute(0, 2, 3, 1), CHANNELS_LAST),
}


def head(in_channels: int = 3, num_classes: int = 10, **options) -> AuxiliaryHead:
    return AuxiliaryHead(in_channels, num_classes, **{'width': 8, **options})


@pytest.mark.parametrize(('tensor', 'layout'), LAID_OUT.values(), ids=LAID_OUT)
def test_every_layout_becomes_the_same_map(tensor, layout):
    assert torch.equal(to_map((tensor,), layout), MAP)


@pytest.mark.parametrize(('tensor', 'layout'), LAID_OUT.values(), ids=LAID_OUT)
def test_every_layout_gets_the_same_scores(tensor, layout):
    torch.manual_seed(0)
    plain = head().eval()
    other = head(layout=layout).eval()
    other.load_state_dict(plain.state_dict())
    scores = other((tensor,))
    assert scores.shape == (2, 10)
    torch.testing.assert_close(scores, plain((MAP,)))


@pytest.mark.parametrize('layout', [tokens_layout(1), None], ids=['tokens', 'map'])
def test_larger_images(layout):
    maps = torch.randn(2, 3, 8, 12)
    tensor = maps if layout is None else torch.cat([torch.randn(2, 1, 3), maps.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(to_map((tensor,), layout), maps)


def test_tokens_that_make_no_grid():
    with pytest.raises(UserError, match=r'stage: 24 tokens, 1 of them prefix tokens, make no grid'):
        head(layout=tokens_layout(1))((TOKENS,))


def test_the_last_tensor_of_a_pyramid_counts():
    pyramid = torch.randn(2, 5, 8, 12), MAP
    assert torch.equal(to_map(pyramid, None), MAP)
    assert head()(pyramid).shape == (2, 10)


@pytest.mark.parametrize('fcs', [1, 2])
def test_parameters(fcs):
    # two convolutions, two norms, the last layer, and sometimes a layer before it
    by_hand = 9 * 16 * 32 + 9 * 32 * 32 + 2 * 2 * 32 + (32 * 10 + 10) + (fcs - 1) * (32 * 32 + 32)
    module = head(16, 10, width=32, fcs=fcs)
    assert sum(parameter.numel() for parameter in module.parameters()) == by_hand
    module((torch.randn(2, 16, 4, 4),)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(('in_channels', 'width'), [(16, 32), (33, 33), (256, 256), (257, 256)])
def test_two_layers_as_wide_as_the_feature_by_default(in_channels, width):
    module = AuxiliaryHead(in_channels, 10)
    convolutions = [(conv.in_channels, conv.out_channels) for conv in module.modules() if isinstance(conv, nn.Conv2d)]
    assert convolutions == [(in_channels, width), (width, width)]
    assert [(fc.in_features, fc.out_features) for fc in module.fcs if isinstance(fc, nn.Linear)] == [
        (width, width),
        (width, 10),
    ]


def test_order_of_the_layers():
    names = [type(module).__name__ for module in head(dropout=0.5).modules() if not list(module.children())]
    convolution = ['Conv2d', 'BatchNorm2d', 'ReLU']
    assert names == [*convolution, *convolution, 'AdaptiveAvgPool2d', 'Dropout', 'Linear', 'ReLU', 'Linear']


@pytest.mark.parametrize(('stride', 'sizes'), [(1, [(4, 6), (4, 6)]), (2, [(2, 3), (1, 2)])])
def test_stride(stride, sizes):
    module, seen = head(stride=stride), []
    for convolution in module.convs:
        convolution.register_forward_hook(lambda _module, _args, output: seen.append(tuple(output.shape[2:])))
    assert module((MAP,)).shape == (2, 10)
    assert seen == sizes


def test_scores_by_hand():
    """With convolutions that copy, the scores are the last layer's output for the mean over the positions."""
    module = head(3, 4, width=3, fcs=1).eval()
    with torch.no_grad():
        for conv in (module.convs[0][0], module.convs[1][0]):
            conv.weight.zero_()
            conv.weight[range(3), range(3), 1, 1] = 1
    means = torch.stack([MAP[:, channel].sum((1, 2)) / 24 for channel in range(3)], dim=1)
    expected = means @ module.fcs[0].weight.T + module.fcs[0].bias
    torch.testing.assert_close(module((MAP,)), expected, rtol=1e-4, atol=1e-4)


def test_dropout_only_in_training():
    module = head(dropout=0.5)
    module.convs.eval()
    assert not torch.equal(module((MAP,)), module((MAP,)))
    module.eval()
    assert torch.equal(module((MAP,)), module((MAP,)))
    without = head(dropout=0.0)
    without.convs.eval()
    assert torch.equal(without((MAP,)), without((MAP,)))


def test_the_feature_is_not_changed():
    """In-place activations must not change the feature that the student continues with."""
    for tensor, layout in LAID_OUT.values():
        before = tensor.clone()
        head(layout=layout)((tensor,))
        assert torch.equal(tensor, before)


def test_initialisation():
    torch.manual_seed(0)
    module = head(64, 100, width=128)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7)
    module.init_weights()
    for block in module.convs:
        convolution, norm, _ = block
        assert convolution.weight.detach().std() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
        assert norm.weight.eq(1).all()
        assert norm.bias.eq(0).all()
    for fc in (module.fcs[0], module.fcs[2]):
        assert fc.weight.detach().std() == pytest.approx((2 / sum(fc.weight.shape)) ** 0.5, rel=0.05)
        assert fc.bias.eq(0).all()


def test_built_by_its_name_in_a_config():
    module = MODELS.build(dict(type='mmkd.AuxiliaryHead', in_channels=3, num_classes=4, width=8, fcs=1))
    assert module((MAP,)).shape == (2, 4)
    assert copy.deepcopy(module)((MAP,)).shape == (2, 4)


def test_half_precision_under_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        assert head()((MAP.bfloat16(),)).shape == (2, 10)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        *product(['in_channels', 'num_classes', 'width', 'stride'], [0, -1, 2.0, True, '8']),
        *product(['in_channels', 'num_classes', 'stride'], [None]),
    ],
)
def test_bad_number(key, value):
    with pytest.raises(UserError, match=f'^AuxiliaryHead: {key} must be a whole number of 1 or more, not {value!r}.$'):
        head(**{key: value})


@pytest.mark.parametrize('fcs', [0, 3, True, '1', None])
def test_bad_fcs(fcs):
    with pytest.raises(UserError, match=f'^AuxiliaryHead: fcs must be 1 or 2, not {fcs!r}.$'):
        head(fcs=fcs)


@pytest.mark.parametrize('dropout', [-0.1, 1, float('nan'), True, '0.5', None])
def test_bad_dropout(dropout):
    with pytest.raises(UserError, match=f'^AuxiliaryHead: dropout must be a number .* below 1, not {dropout!r}.$'):
        head(dropout=dropout)


class Recording(nn.Module):
    """Returns the given scores and remembers its input."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, *args):
        self.args = args
        return self.output


@pytest.mark.parametrize(('tensor', 'layout'), LAID_OUT.values(), ids=LAID_OUT)
@pytest.mark.parametrize('pooled', [torch.ones(2, 3), (torch.ones(2, 3),)], ids=['tensor', 'tuple'])
def test_a_toolbox_gets_tuples(tensor, layout, pooled):
    neck, its_head = Recording(pooled), Recording('scores')
    assert ToolboxHead(neck, its_head, layout)((torch.randn(2, 5, 8, 8), tensor)) == 'scores'
    (((maps,),),) = (neck.args,)
    assert torch.equal(maps, MAP)
    ((vector,),) = its_head.args
    assert torch.equal(vector, torch.ones(2, 3))


def test_found_by_its_name_without_any_toolbox():
    code = """
import sys
from mmkd.registry import MODELS
print(MODELS.get('mmkd.AuxiliaryHead').__name__)
print([name for name in sys.modules if name in ('mmpretrain', 'mmdet', 'mmcv')])
"""
    said = subprocess.check_output([sys.executable, '-c', code], text=True, timeout=120)
    assert said.split() == ['AuxiliaryHead', '[]']
