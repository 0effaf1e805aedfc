import copy
import pickle

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from mmkd.schedule import long_history
from mmkd.schedule.long_history import MOST, LongHistory

CASES = {
    'floats': [0.5, -1.25, float('nan'), 3.0],
    'integers': [3, 1, 2],
    'integers, then floats': [3, 1, 0.5, 2],
    'scalars of numpy': [np.float64(0.1), 7, np.float64(0.3)],
}


def assert_same(long: HistoryBuffer, own: HistoryBuffer) -> None:
    for mine, theirs in zip(long.data, own.data):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('begin', [([], []), ([2], [3]), ([0.5, 1.5], [1, 4])])
def test_it_holds_what_mmengine_s_history_holds(case, begin):
    long, own = LongHistory(*begin), HistoryBuffer(*begin)
    for step, value in enumerate(CASES[case]):
        for history in (long, own):
            history.update(value, step + 1)
        assert np.array_equal(long.current(), own.current(), equal_nan=True)
        if step == 1:  # a reader in between
            assert_same(long, own)
    for statistic in ('mean', 'max', 'min', 'current'):
        assert np.array_equal(long.statistics(statistic), own.statistics(statistic), equal_nan=True)
    assert np.array_equal(long.mean(2), own.mean(2), equal_nan=True)
    assert_same(long, own)


def test_the_oldest_values_make_room():
    long, own = LongHistory([9, 8], [1, 1], max_length=3), HistoryBuffer([9, 8], [1, 1], max_length=3)
    for value in (0.5, 7.5, 6.5):
        for history in (long, own):
            history.update(value, 2)
    assert_same(long, own)
    assert long.data[0].tolist() == [0.5, 7.5, 6.5]


def test_values_are_copied_when_they_are_read(monkeypatch):
    copies = []
    append = np.append
    monkeypatch.setattr(long_history.np, 'append', lambda *args: (copies.append(len(args[0])), append(*args))[1])
    history = LongHistory.of(HistoryBuffer(list(range(50)), [1] * 50))
    for step in range(MOST - 1):
        history.update(step / 2)
        assert history.current() == step / 2
    assert not copies
    history.update(0.25)  # nobody reads, and nothing grows without bounds
    assert copies == [50, 50]
    assert len(history.data[0]) == 50 + MOST
    assert copies == [50, 50]


def test_a_copy_is_mmengine_s_own():
    long, own = LongHistory([0.5], [1]), HistoryBuffer([0.5], [1])
    for history in (long, own):
        history.update(2.5, 3)
    copied = copy.deepcopy(long)
    assert pickle.dumps(copied) == pickle.dumps(own)
    long.update(7.0)
    assert_same(copied, own)


def test_what_mmengine_refuses_is_refused():
    for history in (LongHistory(), HistoryBuffer()):
        with pytest.raises(TypeError, match='log_val must be int or float'):
            history.update('0.5')
        with pytest.raises(ValueError, match='empty'):
            history.current()
        assert len(history.data[0]) == 0
