from types import SimpleNamespace

import pytest

from mmkd.schedule.position import Position
from mmkd.stages.phases import Schedule


@pytest.mark.parametrize(('unit', 'epoch'), [('epochs', 5), ('iterations', 1)])
def test_progress_ends_and_name(unit, epoch):
    position = Position(Schedule((('one',), ('two', 'head')), (2, 3), unit, ('one', 'two', 'head')))
    runner = SimpleNamespace(train_dataloader=range(5), iter=3 * epoch)
    assert position.name == 'one'  # before it begins
    assert position.iterations(runner) == [2 * epoch, 3 * epoch]
    position.index = 1
    assert (position.name, position.is_last) == ('two+head', True)
    assert position.progress(runner) == (epoch, 3 * epoch)
    assert [position.ends_at(done) for done in range(2, 6)] == [False, False, False, True]
