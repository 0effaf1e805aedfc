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
