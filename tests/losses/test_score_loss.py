"""Rules of every loss between classifiers' scores."""

import pytest
import torch

from mmkd.errors import UserError
from mmkd.losses import ClassScores, DISTLoss, DKDLoss, ScoreLoss, SoftTargetLoss, WSLDLoss

LOSSES = [SoftTargetLoss, DKDLoss, DISTLoss, WSLDLoss]
LABELS = torch.tensor([3, 0, 2, 0, 1])


def scores(seed, classes=4):
    return 3 * torch.randn(5, classes, generator=torch.Generator().manual_seed(seed))


def value(loss, student, teacher):
    return loss(student, teacher, **({'labels': LABELS} if 'labels' in loss.needs else {}))


@pytest.mark.parametrize('kind', LOSSES)
def test_gradients_reach_the_student_only(kind):
    student, teacher = scores(0).requires_grad_(), scores(1).requires_grad_()
    loss = value(kind(), student, teacher)
    loss.backward()
    assert loss.shape == ()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize('kind', LOSSES)
def test_float32_under_autocast_and_from_half_precision(kind):
    both = scores(0).bfloat16(), scores(1).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = value(kind(), *both)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, value(kind(), *(x.float() for x in both)))


def test_products_of_matrices_in_a_loss_of_ones_own_are_exact_too():
    class Products(ScoreLoss):
        def compare(self, student, teacher):
            return (student @ teacher.T).sum()

    with torch.autocast('cpu', torch.bfloat16):
        assert Products(1.0, 1.0)(scores(0), scores(1)).dtype == torch.float32


@pytest.mark.parametrize('kind', LOSSES)
def test_standardised_scores_are_blind_to_size_and_offset(kind):
    loss, student, teacher = kind(standardise=True), scores(0), scores(1)
    torch.testing.assert_close(value(loss, 5 * student - 2, teacher / 3 + 1), value(loss, student, teacher))
    assert 'standardise=True' in str(loss)


@pytest.mark.parametrize('kind', LOSSES)
def test_its_weight_and_temperature(kind):
    weight = kind().loss_weight
    full, half = value(kind(), scores(0), scores(1)), value(kind(loss_weight=weight / 2), scores(0), scores(1))
    torch.testing.assert_close(half, full / 2)
    with pytest.raises(UserError, match=rf'^{kind.__name__}: loss_weight must be a finite number of 0 or more, not -1'):
        kind(loss_weight=-1)
    with pytest.raises(UserError, match=rf'^{kind.__name__}: tau must be a finite number above 0, not 0\.$'):
        kind(tau=0)


@pytest.mark.parametrize('kind', LOSSES)
def test_other_classes(kind):
    with pytest.raises(UserError, match=rf'^{kind.__name__}: .*\(5, 4\).*\(5, 7\) differ; both must score the same'):
        value(kind(), scores(0), scores(1, classes=7))


@pytest.mark.parametrize('kind', [DKDLoss, WSLDLoss])
def test_labels(kind):
    with pytest.raises(UserError, match=rf'^{kind.__name__}: it needs labels, which nobody gives it here'):
        kind()(scores(0), scores(1))
    with pytest.raises(UserError, match=rf'^{kind.__name__}: it needs one label for each image; .* \(5, 4\) .* Mixup'):
        kind()(scores(0), scores(1), labels=scores(2).softmax(1))
    own = ClassScores(scores(0), sigmoid=True)
    with pytest.raises(UserError, match=rf'^{kind.__name__}: .*for detectors take mmkd\.ClassScoreLoss'):
        kind()(own, own, labels=LABELS)


def test_dkd_with_equal_weights_of_both_parts_by_hand():
    """Three classes with odds 2:1:1 for the student and 2:3:3 for the teacher; the first is the label."""
    student, teacher = torch.tensor([[2.0, 1, 1]]).log(), torch.tensor([[2.0, 3, 3]]).log()
    target = 0.25 * torch.tensor(0.25 / 0.5).log() + 0.75 * torch.tensor(0.75 / 0.5).log()
    loss = DKDLoss(alpha=2, beta=5, tau=1)(student, teacher, labels=torch.tensor([0]))
    torch.testing.assert_close(loss, 2 * target)  # both give the other classes equal probabilities
    for name in ('alpha', 'beta'):
        with pytest.raises(UserError, match=f'^DKDLoss: {name} must be a finite number of 0 or more'):
            DKDLoss(**{name: -0.5})


def test_dkd_of_scores_far_apart_in_half_precision():
    student = torch.tensor([[60000.0, 0, -60000]]).half()
    assert DKDLoss(tau=1)(student, -student, labels=torch.tensor([0])).isfinite()


def test_dist_weighs_rows_and_columns():
    student, teacher = scores(0), scores(1)
    rows, columns = DISTLoss(gamma=0)(student, teacher), DISTLoss(beta=0)(student, teacher)
    torch.testing.assert_close(DISTLoss(beta=3, gamma=2)(student, teacher), 3 * rows + 2 * columns)
    assert not torch.isclose(rows, columns)


def test_dist_of_detectors_is_of_the_probabilities_that_the_head_means():
    both = scores(0), scores(1)
    by_softmax, by_sigmoid = (DISTLoss()(*(ClassScores(z, sigmoid) for z in both)) for sigmoid in (False, True))
    torch.testing.assert_close(by_softmax, DISTLoss()(*both))
    assert not torch.isclose(by_softmax, by_sigmoid)


def test_wsld_counts_nothing_where_the_student_is_right_and_the_teacher_wrong():
    right, wrong = torch.tensor([[30.0, 0, 0]]), torch.tensor([[0.0, 5, 0]])
    label = torch.tensor([0])
    assert WSLDLoss()(right, wrong, labels=label).item() == pytest.approx(0, abs=1e-5)
    assert WSLDLoss()(wrong, right, labels=label).item() > 1
