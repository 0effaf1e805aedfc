import pytest

from mmkd.schedule.position import Position
from mmkd.stages.phases import Schedule


def position_of(unit: str, epoch_length: int, lengths: tuple[int, ...] = (2, 3)) -> Position:
    return Position(Schedule((('one',), ('two', 'head')), lengths, unit, ('one', 'two', 'head')), epoch_length)


@pytest.mark.parametrize(('unit', 'epoch'), [('epochs', 5), ('iterations', 1)])
def test_progress_ends_and_name(unit, epoch):
    position = position_of(unit, epoch)
    assert position.name == 'one'  # before the phase begins
    assert position.iterations == [2 * epoch, 3 * epoch]
    position.index = 1
    assert (position.name, position.is_last) == ('two+head', True)
    assert position.progress(3 * epoch) == (epoch, 3 * epoch)
    assert position.length == {True: 3, False: 3 * epoch}
    assert [position.ends_at(done) for done in range(2, 6)] == [False, False, False, True]


def test_iterations_in_an_epoch_loop():
    position = position_of('iterations', 4, (5, 7))
    assert position.per_count == 4
    assert position.iterations == [5, 7]
    position.index = 1
    assert position.length == {False: 7}
    assert position.progress(6) == (1, 7)
