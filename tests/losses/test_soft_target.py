import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.losses import ClassScores, SoftTargetLoss

SCORES = arrays(np.float32, (2, 3, 4), elements=st.floats(-30, 30, width=32))  # the student's and the teacher's


def log_softmax(row, tau):
    scaled = [float(score) / tau for score in row]
    top = max(scaled)
    total = top + math.log(sum(math.exp(score - top) for score in scaled))
    return [score - total for score in scaled]


def expected(student, teacher, tau):
    """Compute it image by image and class by class, in double precision."""
    loss = 0.0
    for student_row, teacher_row in zip(student.tolist(), teacher.tolist()):
        for s, t in zip(log_softmax(student_row, tau), log_softmax(teacher_row, tau)):
            loss += math.exp(t) * (t - s)
    return tau * tau * loss / len(student)


def draw(*shape: int, seed: int = 0, scale: float = 3) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(images: int = 5, classes: int = 7, scale: float = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return draw(images, classes, scale=scale), draw(images, classes, seed=1, scale=scale)


@pytest.mark.parametrize('tau', [0.5, 1, 4.0, 20])
@pytest.mark.parametrize('shape', [(1, 2), (5, 7), (3, 100)])
def test_against_loops(tau, shape):
    both = pair(*shape)
    loss = SoftTargetLoss(tau)(*both)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected(*both, tau), rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.floats(0.5, 10))
def test_never_negative_and_blind_to_an_offset_of_all_scores(scores, tau):
    student, teacher = torch.from_numpy(scores)
    loss = SoftTargetLoss(tau)(student, teacher).item()
    assert loss == pytest.approx(expected(student, teacher, tau), rel=1e-3, abs=1e-4 * tau**2)
    assert loss > -1e-5 * tau**2
    assert SoftTargetLoss(tau)(student + 2, teacher - 3).item() == pytest.approx(loss, rel=1e-3, abs=1e-4 * tau**2)


def test_numbers_worked_out_by_hand():
    """Softened with tau 2, the odds are 3:1, 1:1 for the student and 1:1, 3:1 for the teacher."""
    student = torch.tensor([[2 * math.log(3), 0.0], [1.0, 1.0]])
    teacher = torch.tensor([[0.0, 0.0], [2 * math.log(3), 0.0]])
    # 1st image: ln(0.5/0.75)/2 + ln(0.5/0.25)/2 = 0.1438410; 2nd: 0.75 ln(0.75/0.5) + 0.25 ln(0.25/0.5) = 0.1308120
    assert SoftTargetLoss(tau=2)(student, teacher).item() == pytest.approx(4 * (0.1438410 + 0.1308120) / 2, rel=1e-5)


def test_the_default_temperature_is_4():
    both = pair()
    assert SoftTargetLoss()(*both).item() == pytest.approx(expected(*both, 4), rel=1e-4)


def test_float32_under_autocast_and_from_half_precision():
    student, teacher = pair()
    plain = SoftTargetLoss()(student, teacher)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(SoftTargetLoss()(student, teacher), plain)
        half = SoftTargetLoss()(student.bfloat16(), teacher.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected(student.bfloat16().float(), teacher.bfloat16().float(), 4), rel=1e-4)


def test_large_scores_in_half_precision():
    student, teacher = torch.tensor([[0.0, 60000.0]]).half(), torch.tensor([[60000.0, 0.0]]).half()
    assert SoftTargetLoss(tau=1)(student, teacher).item() == 60000


def test_gradient_reaches_only_the_student():
    student, teacher = (scores.requires_grad_() for scores in pair())
    SoftTargetLoss()(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_gradient_is_the_difference_of_the_softened_probabilities():
    student, teacher = pair(images=5)
    student.requires_grad_()
    SoftTargetLoss(tau=2, loss_weight=3)(student, teacher).backward()
    for row, (s, t) in enumerate(zip(student.tolist(), teacher.tolist())):
        by_hand = [3 * 2 * (math.exp(a) - math.exp(b)) / 5 for a, b in zip(log_softmax(s, 2), log_softmax(t, 2))]
        np.testing.assert_allclose(student.grad[row], by_hand, rtol=1e-3, atol=1e-6)


def test_equal_scores_cost_nothing_and_pull_nowhere():
    student = draw(4, 6).requires_grad_()
    loss = SoftTargetLoss()(student, student.detach() + 1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert student.grad.abs().max() < 1e-6


def test_a_step_down_the_gradient_brings_the_scores_nearer():
    student, teacher = pair()
    student.requires_grad_()
    loss = SoftTargetLoss()(student, teacher)
    loss.backward()
    assert SoftTargetLoss()(student.detach() - student.grad, teacher) < loss


def test_the_gradient_of_small_scores_hardly_depends_on_tau():
    gradients = []
    for tau in (1, 4, 16):
        student, teacher = pair(scale=0.01)
        student.requires_grad_()
        SoftTargetLoss(tau)(student, teacher).backward()
        gradients.append(student.grad)
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=0.05, atol=1e-5)


@pytest.mark.parametrize('weight', [0, 0.5, 3])
def test_weight(weight):
    both = pair()
    assert SoftTargetLoss(loss_weight=weight)(*both).item() == pytest.approx(weight * expected(*both, 4), rel=1e-4)


def test_built_by_its_name_in_a_config():
    loss = MODELS.build(dict(type='mmkd.SoftTargetLoss', tau=2, loss_weight=0.5))
    assert (loss.tau, loss.loss_weight) == (2, 0.5)
    assert not loss.state_dict()


@pytest.mark.parametrize('tau', [0, -1, float('nan'), float('inf'), True, '4', None])
def test_bad_tau(tau):
    with pytest.raises(UserError, match=f'^SoftTargetLoss: tau must be a finite number above 0, not {tau!r}.$'):
        SoftTargetLoss(tau)


@pytest.mark.parametrize('weight', [-1, float('nan'), float('inf'), True, '1', None])
def test_bad_weight(weight):
    with pytest.raises(
        UserError, match=f'^SoftTargetLoss: loss_weight must be a finite number of 0 or more, not {weight!r}.$'
    ):
        SoftTargetLoss(loss_weight=weight)


def test_other_classes_are_both_named():
    with pytest.raises(UserError, match=r'\(2, 1\) and .* \(2, 10\) differ'):  # broadcastable
        SoftTargetLoss()(draw(2, 1), draw(2, 10))


def test_scores_of_detectors_are_another_losss():
    scores = ClassScores(torch.zeros(2, 3), True)
    with pytest.raises(UserError, match=r'for detectors take mmkd\.ClassScoreLoss'):
        SoftTargetLoss()(scores, scores)
