"""Class scores of detectors against loops over the definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import MODELS

from mmkd.errors import UserError
from mmkd.losses import ClassScoreLoss, ClassScores


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def softmax(row):
    exp = [math.exp(z - max(row)) for z in row]
    return [e / sum(exp) for e in exp]


def binary(s, t):
    """KL divergence of the teacher's yes/no probabilities from the student's."""
    p, q = sigmoid(t), sigmoid(s)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def categorical(s, t):
    return sum(p * math.log(p / q) for p, q in zip(softmax(t), softmax(s)))


def draw(places: int, classes: int, seed: int, scale: float = 3) -> torch.Tensor:
    return scale * torch.randn(places, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected(student, teacher, sigmoid_scores: bool, tau: float = 1.0, by_confidence: bool = False) -> float:
    divergences, confidences = [], []
    for s, t in zip(student.tolist(), teacher.tolist()):
        cooler = [z / tau for z in s], [z / tau for z in t]
        divergences.append(sum(map(binary, *cooler)) if sigmoid_scores else categorical(*cooler))
        confidences.append(max(map(sigmoid, t)) if sigmoid_scores else 1 - softmax(t)[-1])
    weights = confidences if by_confidence else [1] * len(divergences)
    return tau**2 * sum(w * d for w, d in zip(weights, divergences)) / max(sum(confidences), 1)


@pytest.mark.parametrize('tau', [1.0, 2.5])
@pytest.mark.parametrize('by_confidence', [False, True])
@pytest.mark.parametrize('kind', [True, False], ids=['sigmoid', 'softmax'])
@pytest.mark.parametrize('places', [1, 9], ids=['little confidence', 'much'])
def test_against_loops(tau, by_confidence, kind, places):
    student, teacher = draw(places, 4, 0), draw(places, 4, 1)
    loss = ClassScoreLoss(tau, by_confidence)(ClassScores(student, kind), ClassScores(teacher, kind))
    assert loss.item() == pytest.approx(expected(student, teacher, kind, tau, by_confidence), rel=1e-5)


def test_objectness_and_classes_make_one_divergence():
    """KL divergence over all outcomes at a place: no object, or an object of each class."""
    student, teacher, own, theirs = draw(1, 2, 0), draw(1, 2, 1), draw(1, 1, 2)[0], draw(1, 1, 3)[0]

    def chances(logits, objectness):
        there, (a, b) = sigmoid(objectness.item()), map(sigmoid, logits[0].tolist())
        return [1 - there, *(there * x * y for x in (a, 1 - a) for y in (b, 1 - b))]

    pairs = zip(chances(teacher, theirs), chances(student, own))
    loss = ClassScoreLoss()(ClassScores(student, True, own), ClassScores(teacher, True, theirs))
    assert loss.item() == pytest.approx(sum(p * math.log(p / q) for p, q in pairs), rel=1e-5)


def test_confidence_is_that_of_an_object():
    logits = torch.tensor([[0.0, 2.0], [-3.0, -1.0]])
    assert ClassScores(logits, True).confidence().tolist() == pytest.approx([sigmoid(2), sigmoid(-1)])
    assert ClassScores(logits, False).confidence().tolist() == pytest.approx(
        [1 - softmax([0, 2])[1], 1 - softmax([-3, -1])[1]]
    )
    with_objectness = ClassScores(logits, True, torch.tensor([1.0, -2.0])).confidence()
    assert with_objectness.tolist() == pytest.approx([sigmoid(2) * sigmoid(1), sigmoid(-1) * sigmoid(-2)])


def test_where_nobody_believes_in_an_object_the_sum_counts():
    """The sum is not divided by nearly zero."""
    student, teacher = torch.full((3, 2), -2.0), torch.full((3, 2), -20.0)
    loss = ClassScoreLoss()(ClassScores(student, True), ClassScores(teacher, True))
    assert loss.item() == pytest.approx(6 * binary(-2.0, -20.0), rel=1e-4)


@given(st.lists(st.tuples(*[st.floats(-30, 30)] * 4), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_never_negative(rows, kind, by_confidence):
    student, teacher = torch.tensor(rows).split(2, dim=1)
    assert ClassScoreLoss(by_confidence=by_confidence)(ClassScores(student, kind), ClassScores(teacher, kind)) >= -1e-5


@pytest.mark.parametrize('kind', [True, False])
def test_equal_scores_cost_nothing_and_pull_nowhere(kind):
    scores = draw(5, 3, 0).float().requires_grad_()
    loss = ClassScoreLoss()(ClassScores(scores, kind, scores[:, 0]), ClassScores(scores.detach(), kind, scores[:, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert scores.grad.abs().max() < 1e-6


def test_gradient_reaches_only_the_student():
    student, teacher, own, theirs = (draw(4, 3, i).float().requires_grad_() for i in range(4))
    loss = ClassScoreLoss(by_confidence=True)
    loss(ClassScores(student, True, own[:, 0]), ClassScores(teacher, True, theirs[:, 0])).backward()
    assert student.grad.abs().sum() > 0 < own.grad.abs().sum()
    assert teacher.grad is None is theirs.grad


def test_float32_under_autocast():
    student, teacher = draw(50, 8, 0).bfloat16(), draw(50, 8, 1).bfloat16()
    for kind in (True, False):
        exact = ClassScoreLoss()(ClassScores(student.float(), kind), ClassScores(teacher.float(), kind))
        with torch.autocast('cpu', torch.bfloat16):
            loss = ClassScoreLoss()(ClassScores(student, kind), ClassScores(teacher, kind))
        assert loss.dtype == torch.float32
        assert loss == exact


def test_no_places():
    empty = ClassScores(torch.zeros(0, 3, requires_grad=True), False)
    loss = ClassScoreLoss()(empty, empty)
    loss.backward()
    assert loss == 0


def test_weight_and_name():
    student, teacher = ClassScores(draw(4, 3, 0), True), ClassScores(draw(4, 3, 1), True)
    half = MODELS.build(dict(type='mmkd.ClassScoreLoss', loss_weight=0.5))
    assert half(student, teacher) == pytest.approx(0.5 * ClassScoreLoss()(student, teacher).item())
    assert 'tau=1.0' in repr(half)


@pytest.mark.parametrize('tau', [0, -1, math.inf, math.nan, '2', True])
def test_bad_tau(tau):
    with pytest.raises(UserError, match='ClassScoreLoss: tau must be a finite number above 0, not'):
        ClassScoreLoss(tau=tau)


@pytest.mark.parametrize('weight', [-1, math.inf, math.nan, None])
def test_bad_weight(weight):
    with pytest.raises(UserError, match='ClassScoreLoss: loss_weight must be'):
        ClassScoreLoss(loss_weight=weight)


def test_scores_that_cannot_be_compared():
    a, b = torch.zeros(2, 3), torch.zeros(2, 4)
    with pytest.raises(UserError, match=r'of shape \(2, 3\) and the teacher.s of shape \(2, 4\) differ'):
        ClassScoreLoss()(ClassScores(a, True), ClassScores(b, True))
    with pytest.raises(UserError, match='must score the same places in the same way'):
        ClassScoreLoss()(ClassScores(a, True), ClassScores(a, False))
    with pytest.raises(UserError, match=r'for classifiers take mmkd\.SoftTargetLoss'):
        ClassScoreLoss()(a, a)


def test_the_definitions_here_agree_with_numpy():
    logits = np.array([0.3, -1.2, 2.0])
    assert softmax(logits.tolist()) == pytest.approx((np.exp(logits) / np.exp(logits).sum()).tolist())
