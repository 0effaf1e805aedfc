"""Rules of every loss between features."""

import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

from mmkd.errors import UserError
from mmkd.losses import FeatureLoss, LearnedFeatureLoss
from mmkd.registry import MODELS

MODELS.import_from_location()
LOSSES = sorted(
    name for name, kind in MODELS.module_dict.items() if isinstance(kind, type) and issubclass(kind, FeatureLoss)
)
LEARNED = ['CCLoss', 'CRDLoss', 'FBKDLoss', 'FGDLoss', 'FitNetLoss', 'ICKDLoss', 'MGDLoss', 'OFDLoss', 'ReviewKDLoss']
LEARNED += ['SRRLLoss', 'VIDLoss']
ONE = ('CRDLoss',)  # these compare a single place
WIDTHS = dict(shapes=((6, 10), (6, 10)), sizes=((6, 10), (8, 12)), nothing=((6, 10), (8, 12)))
OPTIONS = dict(FBKDLoss=dict(reductions=(2, 2), strides=(2, 2)), CRDLoss=dict(negatives=7, dimensions=5))


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Case:
    """A loss, features of two places, and its other inputs."""

    def __init__(self, name: str, **options):
        self.loss = MMENGINE_MODELS.build(dict(type=f'mmkd.{name}', **OPTIONS.get(name, {}), **options))
        own, target = WIDTHS[self.loss.alike]
        self.student = [draw(4, own[0], 8, 6, seed=0), draw(4, own[1], 4, 3, seed=1)]
        self.teacher = [draw(4, target[0], 8, 6, seed=2), draw(4, target[1], 4, 3, seed=3)]
        if name in ONE:
            self.student, self.teacher = self.student[1:], self.teacher[1:]
        for feature in self.student:
            feature.requires_grad_()
        torch.manual_seed(9)
        head = {width: nn.Linear(width, 3) for width in target}
        everything = dict(
            labels=torch.tensor([2, 0, 1, 2]),
            indices=torch.tensor([8, 3, 0, 5]),
            boxes=[torch.tensor([[5.0, 4, 30, 50]]), torch.zeros(0, 4)] * 2,
            image_sizes=[(64, 48), (60, 40), (64, 48), (50, 48)],
            teacher_head=lambda feature: head[feature.shape[1]](feature),
            samples=9,
            teacher_norms=[(torch.ones(width), torch.zeros(width)) for width in target],
        )
        self.needs = {key: everything[key] for key in self.loss.needs}
        self.build_needs = {key: everything[key] for key in self.loss.build_needs}

    @property
    def shapes(self):
        return [tuple(x.shape[1:]) for x in self.student], [tuple(x.shape[1:]) for x in self.teacher]

    def build(self, seed=0):
        torch.manual_seed(seed)
        self.loss.build_for(*self.shapes, **self.build_needs)
        return self

    def value(self, student=None, teacher=None):
        torch.manual_seed(5)  # of masks and negatives
        return self.loss(student or self.student, teacher or self.teacher, **self.needs)


def test_all_losses_are_here():
    assert len(LOSSES) >= 21
    assert set(LEARNED) == {name for name in LOSSES if list(Case(name).build().loss.parameters())}


@pytest.mark.parametrize('name', LOSSES)
def test_only_the_student_and_what_the_loss_learns_get_gradients(name):
    case = Case(name).build()
    for feature in case.teacher:
        feature.requires_grad_()
    value = case.value()
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert all(feature.grad is None for feature in case.teacher)
    assert all(feature.grad.abs().sum() > 0 for feature in case.student)
    silent = [key for key, parameter in case.loss.named_parameters() if parameter.grad is None]
    assert silent == []


@pytest.mark.parametrize('name', LOSSES)
def test_its_weight(name):
    weight = Case(name).loss.loss_weight
    full, half = Case(name).build(), Case(name, loss_weight=weight / 2).build()
    torch.testing.assert_close(half.value(), full.value() / 2)
    with pytest.raises(UserError, match=rf'^{name}: loss_weight must be a finite number of 0 or more, not -1\.$'):
        Case(name, loss_weight=-1)


@pytest.mark.parametrize('name', LOSSES)
def test_float32_under_autocast_and_from_half_precision(name):
    case = Case(name).build()
    halves = [[x.detach().bfloat16() for x in features] for features in (case.student, case.teacher)]
    plain = Case(name).build().value(*([x.float() for x in features] for features in halves))
    with torch.autocast('cpu', torch.bfloat16):
        value = case.value(*halves)
    assert value.dtype == torch.float32
    assert torch.equal(value, plain)


@pytest.mark.parametrize('name', LEARNED)
def test_parameters_follow_the_seed(name):
    first, same, other = (Case(name).build(seed).loss.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize('name', [name for name in LOSSES if Case(name).loss.alike != 'nothing'])
def test_shapes_that_differ(name):
    case = Case(name)
    case.teacher[1] = draw(4, case.teacher[1].shape[1], 5, 3, seed=3)
    with pytest.raises(UserError, match=rf'^{name}: .*\(10, 4, 3\).*\(1., 5, 3\) differ; an adapter must make them al'):
        case.build()
    if name not in LEARNED:
        with pytest.raises(UserError, match=rf'^{name}: .*\(4, 10, 4, 3\).*\(4, 10, 5, 3\) differ; an adapter must'):
            case.value()


@pytest.mark.parametrize('name', ['ATLoss', 'VIDLoss', 'SPLoss'])
def test_tokens_and_maps_are_not_compared(name):
    case = Case(name)
    case.student[0] = draw(4, 12, 6, seed=3)
    with pytest.raises(UserError, match=rf'^{name}: .*\(12, 6\).*\(8, 8, 6\).* cannot be compared; an adapter must'):
        case.build()


@pytest.mark.parametrize('name', ['PKDLoss', 'CWDLoss', 'ATLoss', 'ABLoss', 'NSTLoss', 'FeatureMimicLoss'])
def test_tokens_are_maps_in_a_row(name):
    loss = Case(name).loss
    own, target = draw(4, 12, 6, seed=0), draw(4, 12, 6, seed=1)
    maps = [x.transpose(1, 2).unflatten(2, (3, 4)) for x in (own, target)]
    torch.testing.assert_close(loss(own, target), loss(*maps))


@pytest.mark.parametrize(
    ('name', 'lacks'),
    [('FGDLoss', 'boxes and image_sizes'), ('CRDLoss', 'indices and labels'), ('SRRLLoss', 'teacher_head')],
)
def test_what_a_loss_needs_is_missing(name, lacks):
    case = Case(name).build()
    case.needs = {}
    with pytest.raises(
        UserError, match=rf'^{name}: it needs {lacks}, which nobody gives it here; take another loss\.$'
    ):
        case.value()


@pytest.mark.parametrize(('name', 'lacks'), [('OFDLoss', 'teacher_norms'), ('CRDLoss', 'samples')])
def test_what_a_loss_is_built_of_is_missing(name, lacks):
    case = Case(name)
    case.build_needs = {}
    with pytest.raises(UserError, match=rf'^{name}: it needs {lacks}, which'):
        case.build()


def test_a_loss_of_ones_own_is_a_few_lines():
    class Mine(LearnedFeatureLoss):
        def part(self, student, teacher):
            return Scaled()

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, student, teacher):
            return (self.scale * student.mean() - teacher.mean()).abs()

    loss = Mine(loss_weight=3)
    loss.build_for([(1, 2, 2)] * 2, [(5, 2, 2)] * 2)
    ones = [torch.ones(2, 1, 2, 2)] * 2
    assert loss(ones, [torch.zeros(2, 5, 2, 2)] * 2).item() == 3 * 2 * 2
    assert len(list(loss.parameters())) == 2
