import numpy as np
import pytest

from mmkd.errors import UserError
from mmkd.evaluation.verification import Separation, accept_rates, best_threshold, check_pairs, fold_accuracies
from tests.evaluation import slow

RATES = (0.5, 0.29, 0.1, 0.03, 0.01, 1e-3)


@pytest.mark.parametrize('seed', range(20))
def test_tar_is_that_of_the_best_threshold(seed):
    random = np.random.RandomState(seed)
    scores = random.randint(0, 12, 130) / 16  # many ties
    same = random.rand(130) < 0.3 + 0.02 * scores
    found = accept_rates(scores[same], scores[~same], RATES)
    wanted = {rate: slow.tar_at_far(scores, same, rate) for rate in RATES}
    assert found == pytest.approx({rate: tar for rate, tar in wanted.items() if tar is not None}, abs=1e-12)
    assert 1e-3 not in found


def test_tar_by_hand():
    genuine, impostor = np.array([0.9, 0.8, 0.4, 0.2]), np.array([0.7, 0.5, 0.3, 0.1])
    # thresholds at which one of four impostors passes: 0.5; two: 0.3; all: none
    assert accept_rates(genuine, impostor, (0.25, 0.5, 1.0)) == {0.25: 0.5, 0.5: 0.75, 1.0: 1.0}
    assert accept_rates(genuine, impostor, (0.2,)) == {}
    assert accept_rates(genuine, np.array([]), RATES) == {}


def test_a_network_that_says_always_the_same_accepts_nobody():
    ones = np.ones(50)
    assert accept_rates(ones, ones, (0.1, 0.5)) == {0.1: 0, 0.5: 0}


def test_a_product_that_is_rounded_down_counts_whole():
    assert 0.29 * 100 < 29
    impostor = np.arange(100.0)
    assert accept_rates(np.array([70.5]), impostor, (0.29,)) == {0.29: 1}  # scores 71 to 99 pass
    assert accept_rates(np.array([70.0]), impostor, (0.29,)) == {0.29: 0}


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize(('pairs', 'folds'), [(60, 10), (67, 10), (23, 4)])
def test_accuracy_is_at_the_best_threshold_of_the_other_folds(seed, pairs, folds):
    random = np.random.RandomState(seed)
    scores = (random.randint(0, 10, pairs) / 8).astype(np.float32)
    same = random.rand(pairs) < scores
    found = fold_accuracies(scores, same, folds)
    assert found == pytest.approx(slow.fold_accuracies(scores, same, folds))


def test_accuracy_by_hand():
    scores = np.array([0.9, 0.1, 0.85, 0.2, 0.3, 0.7])
    same = np.array([True, False, True, False, True, False])
    # thresholds of the first two folds: 0.775 and 0.8; of the third: 0.525, at which both of its pairs are wrong
    assert best_threshold(scores[:4], same[:4]) == pytest.approx(0.525)
    assert fold_accuracies(scores, same, 3).tolist() == [1, 1, 0]


def test_ends_are_thresholds_too():
    scores = np.array([0.1, 0.4])
    assert best_threshold(scores, np.array([False, False])) == 0.4  # accepts no pair
    assert best_threshold(scores, np.array([True, True])) == -np.inf


def test_too_few_pairs_for_the_folds_are_told():
    with pytest.raises(UserError, match='3 pairs cannot be cut into 10 folds'):
        fold_accuracies(np.arange(3.0), np.array([True, False, True]))


def test_pairs_of_one_kind_are_told():
    with pytest.raises(UserError, match='no pair of the same person'):
        check_pairs(np.array([False, False]))
    with pytest.raises(UserError, match='no pair of different people'):
        check_pairs(np.array([True]))


def test_separation_by_hand():
    apart = Separation.of(np.array([0.6, 0.8, 0.1, 0.3]), np.array([True, True, False, False]))
    assert (apart.same, apart.different) == pytest.approx((0.7, 0.2))
    assert apart.distance == pytest.approx(0.5 / 0.1)
