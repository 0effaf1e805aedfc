import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.losses import FeatureMimicLoss

KINDS = 'mse', 'l1', 'smooth_l1', 'cosine'
SHAPES = {'map': (3, 5, 4, 2), 'tokens': (3, 7, 5), 'vector': (3, 5)}


def cosine(student, teacher):
    """Compute it in loops over positions."""
    if student.ndim == 4:
        student, teacher = (np.moveaxis(array, 1, -1) for array in (student, teacher))
    rows = zip(student.reshape(-1, student.shape[-1]), teacher.reshape(-1, teacher.shape[-1]))
    return np.mean([1 - (s * t).sum() / (s**2).sum() ** 0.5 / (t**2).sum() ** 0.5 for s, t in rows])


def smooth_l1(student, teacher):
    gaps = np.abs(student - teacher).ravel()
    return sum(gap * gap / 2 if gap < 1 else gap - 0.5 for gap in gaps) / positions(student)


def positions(feature):
    return feature.size / feature.shape[1 if feature.ndim == 4 else -1]


EXPECTED = {
    'mse': lambda s, t: ((s - t) ** 2).sum() / positions(s),
    'l1': lambda s, t: np.abs(s - t).sum() / positions(s),
    'smooth_l1': smooth_l1,
    'cosine': cosine,
}


def draw(*shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return draw(*shape), draw(*shape).flip(0)


OTHER_AXES = {2: 0, 3: (0, 1), 4: (0, 2, 3)}  # than the channels', by the number of axes


def expected(kind, student, teacher):
    student, teacher = student.double().numpy(), teacher.double().numpy()
    summed = ((teacher - teacher.mean(OTHER_AXES[teacher.ndim], keepdims=True)) ** 2).sum() / positions(teacher)
    scale = max(1, ((teacher - teacher.mean()) ** 2).mean(), summed / 128) ** 0.5
    return EXPECTED[kind](student / scale, teacher / scale)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
def test_against_numpy(kind, shape):
    student, teacher = pair(*shape)
    loss = FeatureMimicLoss(kind)(student, teacher)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected(kind, student, teacher), rel=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_equal_features_cost_nothing(kind):
    feature = draw(2, 5, 4, 4)
    assert FeatureMimicLoss(kind)(feature, feature.clone()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_a_pyramid_is_the_mean_of_its_tensors_whatever_their_size(kind):
    pairs = [pair(2, 4, side, side) for side in (8, 4, 1)]
    students, teachers = zip(*pairs)
    loss = FeatureMimicLoss(kind)(students, teachers)
    assert loss.item() == pytest.approx(np.mean([expected(kind, *both) for both in pairs]), rel=1e-5)
    assert FeatureMimicLoss(kind)(students[:1], teachers[:1]) == FeatureMimicLoss(kind)(students[0], teachers[0])


@pytest.mark.parametrize('kind', KINDS)
def test_float32_under_autocast_and_from_half_precision(kind):
    student, teacher = pair(3, 5, 4, 2)
    plain = FeatureMimicLoss(kind)(student, teacher)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(FeatureMimicLoss(kind)(student, teacher), plain)
        half = FeatureMimicLoss(kind)(student.bfloat16(), teacher.bfloat16())
    assert half.dtype == torch.float32
    rounded = expected(kind, student.bfloat16().float(), teacher.bfloat16().float())
    assert half.item() == pytest.approx(rounded, rel=1e-5)


def test_no_overflow_in_half_precision():
    student, teacher = torch.full((1, 2, 2, 2), 300.0).half(), torch.zeros(1, 2, 2, 2).half()
    assert FeatureMimicLoss('mse')(student, teacher).item() == 180000  # beyond float16's maximum of 65504


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_reaches_only_the_student(kind):
    student, teacher = (tensor.requires_grad_() for tensor in pair(2, 5, 3, 3))
    FeatureMimicLoss(kind)((student,), (teacher,)).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_gradient_of_mse_by_hand():
    student, teacher = pair(2, 3, 2, 2)
    student.requires_grad_()
    FeatureMimicLoss('mse', loss_weight=3)(student, teacher).backward()
    gap, scale = (student - teacher).detach().numpy(), teacher.numpy().std()
    np.testing.assert_allclose(student.grad, 3 * 2 * gap / scale**2 / (2 * 2 * 2), rtol=1e-5)


@pytest.mark.parametrize('kind', ['mse', 'l1', 'smooth_l1'])
def test_large_features_are_scaled_to_one_deviation_and_small_ones_left_alone(kind):
    student, teacher = pair(4, 5, 4, 2)
    teacher = teacher / teacher.std(correction=0)
    loss = FeatureMimicLoss(kind)
    assert loss(100 * student, 100 * teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)
    small = EXPECTED[kind](0.01 * student.double().numpy(), 0.01 * teacher.double().numpy())
    assert loss(0.01 * student, 0.01 * teacher).item() == pytest.approx(small, rel=1e-4)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', [(3, 250, 4, 2), (3, 7, 250), (9, 250)], ids=SHAPES)
def test_many_channels_are_scaled_to_a_summed_variance_of_128(kind, shape):
    student, teacher = (0.45 * feature for feature in pair(*shape))  # each channel varies by less than 1
    loss = FeatureMimicLoss(kind)(student, teacher).item()
    assert loss == pytest.approx(expected(kind, student, teacher), rel=1e-5)
    plain = EXPECTED[kind](student.double().numpy(), teacher.double().numpy())
    assert loss == pytest.approx(plain, rel=1e-5) if kind == 'cosine' else loss < 0.9 * plain


@pytest.mark.parametrize('weight', [0, 0.5, 3])
def test_weight(weight):
    both = pair(2, 5, 3, 3)
    assert FeatureMimicLoss(loss_weight=weight)(*both).item() == pytest.approx(weight * expected('mse', *both))


def test_built_by_its_name_in_a_config():
    loss = MODELS.build(dict(type='mmkd.FeatureMimicLoss', kind='l1', loss_weight=2))
    assert (loss.kind, loss.loss_weight) == ('l1', 2)
    assert not loss.state_dict()


def test_unknown_kind():
    with pytest.raises(UserError, match=r"mse, l1, smooth_l1, cosine, not 'smoothl1'\. Did you mean smooth_l1"):
        FeatureMimicLoss('smoothl1')


@pytest.mark.parametrize('weight', [-1, float('nan'), float('inf'), '1', None])
def test_bad_weight(weight):
    with pytest.raises(UserError, match=f'loss_weight must be a finite number of 0 or more, not {weight!r}'):
        FeatureMimicLoss(loss_weight=weight)


def test_other_shapes_are_both_named():
    with pytest.raises(UserError, match=r'\(2, 1, 4, 4\) and .* \(2, 3, 4, 4\) differ'):  # broadcastable
        FeatureMimicLoss()(draw(2, 1, 4, 4), draw(2, 3, 4, 4))


def test_other_number_of_tensors():
    with pytest.raises(UserError, match=r'\(2, 3\), \(2, 4\) and .* \(2, 3\) differ'):
        FeatureMimicLoss()((draw(2, 3), draw(2, 4)), (draw(2, 3),))
