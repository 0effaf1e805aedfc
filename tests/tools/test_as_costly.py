"""With which length of the student alone a method is compared, and what the cell says of its cost."""

import pytest

from tests.tool_modules import tool_modules


@pytest.fixture
def cell():
    """The cell of a method that cost so much and has 7.5, beside lengths of the student alone: cost, figure."""
    with tool_modules('benchmark', 'arenas'):
        from arena import Row
        from as_costly import against_as_costly

        def result(spent: float | None, last: float) -> list[dict]:
            return [dict(state='finished', core_seconds=spent, last=last)]

        def cell(spent: float | None, *alone: tuple[float | None, float]) -> str:
            rows = [Row(f'alone{i}', '', 'student', teacher=None) for i in range(len(alone))]
            found = {row.key: result(*each) for row, each in zip(rows, alone)}
            found['kd'] = result(spent, 7.5)
            return against_as_costly(Row('kd', '', 'kd'), rows, found.__getitem__, 10.0)

        yield cell


def test_what_cost_as_many_counts_to_a_tenth(cell):
    assert cell(100, (50, 6.0), (111, 6.5), (500, 7.0)) == '+10.0'
    assert cell(100, (50, 6.0), (90, 6.5), (500, 7.0)) == '+10.0'
    assert cell(100, (50, 6.0), (91, 6.5), (109, 6.6), (112, 7.0)) == '+9.0'  # not the first of those
    assert cell(100, (50, 6.8), (91, 6.5), (109, 6.6)) == '+7.0'  # longer is not always better


def test_where_none_cost_as_many_the_next_longer_counts_and_the_cell_says_so(cell):
    assert cell(100, (50, 6.0), (500, 7.0)) == '+5.0 (5.0 times)'
    assert cell(100, (500, 7.0), (50, 6.0), (600, 7.2)) == '+5.0 (5.0 times)'  # in whatever order the rows stand
    assert cell(100, (89, 6.0), (112, 7.0)) == '+5.0 (1.1 times)'
    assert cell(100, (300, 7.0), (400, 7.2)) == '+5.0 (3.0 times)'


def test_what_cost_less_needs_no_bracket_where_it_is_the_best(cell):
    assert cell(100, (50, 7.0), (500, 6.0)) == '+5.0'
    assert cell(100, (50, 7.0), (500, 7.0)) == '+5.0'


def test_there_is_no_comparison_where_it_never_trained_for_so_long(cell):
    assert cell(100, (50, 6.0), (89, 6.5)) == ''
    assert cell(100, (50, 7.5)) == ''  # not ahead
    assert cell(100, (50, 6.0), (None, 8.5)) == ''
    assert cell(None, (50, 6.0), (500, 6.5)) == ''


def test_where_fewer_were_enough_to_be_ahead_the_cell_says_so(cell):
    assert cell(100, (50, 7.0), (71, 8.0)) == '-5.0 (0.7 times)'
    assert cell(100, (40, 8.0), (100, 7.0), (500, 9.5)) == '-5.0 (0.4 times)'
    assert cell(100, (40, 6.5), (91, 8.0)) == '-5.0'


def test_the_lengths_of_the_student_alone_are_all_of_the_arena_and_nothing_else():
    with tool_modules('benchmark', 'arenas'):
        from arena import Row
        from as_costly import lengths_of

        few = {'train_dataloader.dataset.per_class': 5}
        longer = {'train_cfg.max_epochs': 9, 'param_scheduler.milestones': [5], 'default_hooks.checkpoint.interval': 9}
        alone = Row('alone', '', 'student', few, teacher=None)
        others = [
            Row('longer', '', 'student', {**few, **longer}, teacher=None),
            Row('all-labels', '', 'student', longer, teacher=None),
            Row('bfloat16', '', 'student', {**few, 'optim_wrapper.type': 'AmpOptimWrapper'}, teacher=None),
            Row('teacher', '', 'teacher', few, teacher=None),
            Row('head', '', 'student', few),
        ]
        assert [row.key for row in lengths_of(alone, [*others, alone])] == ['longer', 'alone']
