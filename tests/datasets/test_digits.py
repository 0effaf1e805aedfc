import sys

import numpy as np
import pytest

from mmkd.datasets import Digits
from mmkd.errors import UserError

sklearn_datasets = pytest.importorskip('sklearn.datasets')


def test_the_two_splits_are_all_of_scikit_learns_digits():
    train, test = Digits(split='train'), Digits(split='test')
    assert (len(train), len(test)) == (1437, 360)
    everything = sklearn_datasets.load_digits()
    assert [test[i]['gt_label'] for i in range(3)] == everything.target[[0, 5, 10]].tolist()
    grey = test[1]['img'][..., 0]
    np.testing.assert_array_equal(np.round(grey / 255 * 16), everything.images[5])
    assert test[1]['img'].shape == (8, 8, 3)
    assert test[1]['img'].dtype == np.uint8
    assert test.metainfo['classes'] == tuple('0123456789')


def test_unknown_split():
    with pytest.raises(UserError, match="split must be one of train, test, not 'val'"):
        Digits(split='val')


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(UserError, match='pip install scikit-learn'):
        Digits()


def test_some_of_each_class_and_the_others_are_all():
    some, others, everything = Digits(per_class=(0, 5)), Digits(per_class=[5, None]), Digits()
    labels = [some[i]['gt_label'] for i in range(len(some))]
    assert sorted(labels) == sorted(list(range(10)) * 5)
    assert len(some) + len(others) == len(everything)
    images = {part[i]['img'].tobytes() for part in (some, others) for i in range(len(part))}
    assert images == {everything[i]['img'].tobytes() for i in range(len(everything))}
    for i in range(len(some)):
        (place,) = np.flatnonzero((everything.images == some[i]['img']).all((1, 2, 3)))
        assert everything[place]['gt_label'] == labels[i]


@pytest.mark.parametrize('wrong', [5, (5,), '05x'])
def test_per_class_is_a_pair(wrong):
    with pytest.raises(UserError, match=r'per_class must be two numbers, as \(0, 5\)'):
        Digits(per_class=wrong)
