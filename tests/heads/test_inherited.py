from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkd.features.least_squares import LeastSquares
from mmkd.heads.inherited import CannotInherit, class_rows, inherit


@pytest.fixture
def between() -> LeastSquares:
    """A map from 3 channels of the student to 5 of the teacher."""
    fit = LeastSquares(3, 5)
    generator = torch.Generator().manual_seed(0)
    fit.weight.copy_(torch.randn(5, 3, generator=generator))
    fit.bias.copy_(torch.randn(5, generator=generator))
    return fit


def weights(**layers):
    return {f'{name}.{key}': value for name, layer in layers.items() for key, value in layer.state_dict().items()}


def loaded(layer, state):
    layer.load_state_dict({key.partition('.')[2]: value for key, value in state.items()})
    return layer


@torch.no_grad()
def test_a_linear_layer_on_a_pooled_feature(between):
    own, theirs, feature = nn.Linear(3, 7), nn.Linear(5, 7), torch.randn(2, 3, 4, 6)
    head = loaded(own, inherit(weights(fc=own), weights(fc=theirs), [between], None))
    torch.testing.assert_close(head(feature.mean((2, 3))), theirs(between(feature).mean((2, 3))), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_convolution_but_for_the_border(between):
    own, theirs, feature = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(5, 4, 3, padding=1), torch.randn(2, 3, 6, 5)
    head = loaded(own, inherit(weights(conv=own), weights(conv=theirs), [between], None))
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(head(feature)[inside], theirs(between(feature))[inside], rtol=0, atol=1e-5)
    padded = F.conv2d(F.pad(between(feature), (1, 1, 1, 1)), theirs.weight, theirs.bias)
    assert not torch.allclose(head(feature), padded, atol=1e-3)  # the map's constant is missing there


@torch.no_grad()
@pytest.mark.parametrize('kernel', [1, 3])
def test_a_batch_norm_takes_up_the_constant_where_there_is_no_bias(between, kernel):
    own, theirs = (block(width, kernel) for width in (3, 5))
    theirs[1].running_mean.normal_()
    theirs[1].running_var.uniform_(0.5, 2)
    theirs[1].weight.normal_()
    convs = [nn.ModuleList([layers]) for layers in (own, theirs)]
    convs[0].load_state_dict(inherit(*(layers.state_dict() for layers in convs), [between], None))
    feature = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(own.eval()(feature), theirs.eval()(between(feature)), rtol=0, atol=1e-5)


def block(width, kernel, norm=nn.BatchNorm2d):
    """A convolution without padding and bias, and a norm, with mmcv's names."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(width, 4, kernel, bias=False), norm=norm(4)))


def test_equal_layers_are_copied_with_their_statistics(between):
    own, theirs = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    theirs.running_mean.add_(3)
    theirs.weight.data.mul_(2)
    state = inherit(weights(norm=own), weights(norm=theirs), [between], None)
    assert torch.equal(state['norm.running_mean'], theirs.running_mean)
    assert torch.equal(state['norm.weight'], theirs.weight)


@torch.no_grad()
@pytest.mark.parametrize('bias', [True, False])
def test_classes_are_chosen_by_name(bias):
    own, theirs = nn.Linear(5, 2, bias=bias), nn.Linear(5, 4, bias=bias)
    rows = class_rows(('dog', 'ant'), ('ant', 'bee', 'cat', 'dog'))
    head = loaded(own, inherit(weights(fc=own), weights(fc=theirs), [], rows))
    feature = torch.randn(3, 5)
    torch.testing.assert_close(head(feature), theirs(feature)[:, [3, 0]])


@torch.no_grad()
def test_classes_are_chosen_of_a_head_that_is_multiplied(between):
    own, theirs, feature = nn.Linear(3, 2), nn.Linear(5, 4), torch.randn(6, 3)
    head = loaded(own, inherit(weights(fc=own), weights(fc=theirs), [between], [3, 0]))
    torch.testing.assert_close(head(feature), theirs(between(feature))[:, [3, 0]], rtol=0, atol=1e-5)


def test_classes_that_are_the_same_or_unknown():
    assert class_rows(('ant', 'bee'), ('ant', 'bee')) is None
    assert class_rows((), ('ant',)) is class_rows(('ant',), ()) is None
    assert class_rows(('bee', 'ant'), ('ant', 'bee')) == [1, 0]
    with pytest.raises(CannotInherit, match="does not know the class 'wolf'"):
        class_rows(('ant', 'wolf'), ('ant', 'bee'))


def test_what_does_not_fit_is_said(between):
    narrow, wide = nn.Linear(3, 7), nn.Linear(5, 7)
    with pytest.raises(CannotInherit, match=r'fc\.weight is \(7, 3\) in the student and \(7, 5\) in the teacher'):
        inherit(weights(fc=narrow), weights(fc=wide), [], None)
    with pytest.raises(CannotInherit, match=r'fc\.weight is \(7, 3\) .* and no bias takes up the constant'):
        inherit(weights(fc=nn.Linear(3, 7, bias=False)), weights(fc=nn.Linear(5, 7, bias=False)), [between], None)
    norms = [weights(x=block(width, 1, norm=lambda channels: nn.GroupNorm(2, channels))) for width in (3, 5)]
    with pytest.raises(CannotInherit, match=r'x\.conv\.weight is .* and no bias .* nor a batch norm behind it'):
        inherit(*norms, [between], None)
    with pytest.raises(CannotInherit, match=r'the teacher has no fc\.bias'):
        inherit(weights(fc=narrow), weights(other=wide), [between], None)
    with pytest.raises(CannotInherit, match=r'fc\.weight is \(6, 3\) in the student and \(7, 5\) in the teacher'):
        inherit(weights(fc=nn.Linear(3, 6)), weights(fc=wide), [between], None)
