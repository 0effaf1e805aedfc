import math

import numpy as np
import pytest

from mmkd.errors import UserError
from mmkd.utils.numbers import check_weight


@pytest.mark.parametrize('weight', [0, 1, 0.25, 3.5, np.float64(0.1)])
def test_a_weight_stays_as_it_is(weight):
    assert check_weight('model.alpha', weight) is weight


@pytest.mark.parametrize('weight', [-0.1, math.inf, math.nan, True, '1', None])
def test_what_is_no_weight(weight):
    with pytest.raises(UserError, match=r'^model\.alpha must be a finite number of 0 or more, not '):
        check_weight('model.alpha', weight)


def test_a_share_ends_at_its_most():
    assert check_weight('model.ce_share', 1, most=1) == 1
    with pytest.raises(UserError, match=r'^model\.ce_share must be a number from 0 to 1, not 1\.5\.$'):
        check_weight('model.ce_share', 1.5, most=1)
