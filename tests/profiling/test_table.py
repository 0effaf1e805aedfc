from types import SimpleNamespace

import pytest
from torch.autograd import DeviceType

from mmkd.profiling.table import ASIDE, PREFIX, Part, Timeline, table


def event(name, start, end, thread=1, device=DeviceType.CPU, kernels=()):
    """Events with times in milliseconds."""
    return SimpleNamespace(
        name=name,
        thread=thread,
        device_type=device,
        time_range=SimpleNamespace(start=1000 * start, end=1000 * end),
        kernels=[SimpleNamespace(duration=1000 * duration) for duration in kernels],
    )


def ours(part, start, end, **more):
    return event(PREFIX + part, start, end, **more)


ITERATION = [
    event('ProfilerStep*', 0, 100),
    event('enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__', 0, 10),
    event('aten::empty', 1, 9),
    ours(Part.LOSSES, 20, 60),
    ours(Part.TRAINED, 22, 50),
    ours(Part.FROZEN, 25, 35),
    ours(Part.BACKWARD, 60, 80),
]


def milliseconds(timeline):
    return {part: round(1000 * seconds) for part, seconds in timeline.seconds.items() if part}


def test_the_innermost_range_counts_and_the_parts_add_up():
    found = milliseconds(Timeline(reversed(ITERATION)))
    assert found == {
        Part.DATA: 10,
        Part.LOSSES: 2 + 10,
        Part.TRAINED: 3 + 15,
        Part.FROZEN: 10,
        Part.BACKWARD: 20,
        Part.REST: 10 + 20,
    }
    assert sum(found.values()) == 100


def test_iterations_are_counted_and_what_lies_between_them_is_in_none():
    later = [ours(Part.TEACHER, 105, 107), event('ProfilerStep*', 110, 130), ours(Part.TEACHER, 112, 117)]
    timeline = Timeline([*ITERATION, *later])
    assert timeline.iterations == 2
    assert timeline.at(108_000) == ''
    assert milliseconds(timeline)[Part.REST] == 30 + 15


def test_what_validation_waits_for_is_not_counted():
    inside = [ours(ASIDE, 85, 95), event('enumerate(DataLoader)#x', 86, 92)]
    found = milliseconds(Timeline([*ITERATION, *inside]))
    assert found[Part.DATA] == 10
    assert found[Part.REST] == 20
    assert ASIDE not in table('x', Timeline([*ITERATION, *inside]), 0)
    assert '0.09000     100.0' in table('x', Timeline([*ITERATION, *inside]), 0)


def test_other_threads_and_the_device_have_no_part_in_the_time_of_this_one():
    others = [ours(Part.TEACHER, 5, 95, thread=2), ours(Part.TEACHER, 5, 95, device=DeviceType.CUDA)]
    assert milliseconds(Timeline([*ITERATION, *others])) == milliseconds(Timeline(ITERATION))


def test_kernels_count_where_they_were_called():
    calls = [
        event('aten::conv2d', 26, 27, kernels=[40, 2]),  # frozen, and runs much later
        event('aten::conv2d', 40, 41, kernels=[8]),
        event('ConvolutionBackward0', 62, 63, thread=7, kernels=[50]),  # the thread of the backward pass
    ]
    text = table('x', Timeline([*ITERATION, *calls]), 0)
    rows = {line[:28].strip(): line[28:].split() for line in text.splitlines()}
    assert rows['part'] == ['s/iteration', 'per', 'cent', 'on', 'the', 'device', 'per', 'cent']
    assert rows[Part.FROZEN] == ['0.01000', '10.0', '0.04200', '42.0']
    assert rows[Part.TRAINED] == ['0.01800', '18.0', '0.00800', '8.0']
    assert rows[Part.BACKWARD] == ['0.02000', '20.0', '0.05000', '50.0']
    assert rows[Part.REST] == ['0.03000', '30.0', '0.00000', '0.0']
    assert rows['all'] == ['0.10000', '100.0', '0.10000', '100.0']


@pytest.mark.parametrize(('images', 'rate'), [(64, ', 640 images/s.'), (0, ' an iteration.')])
def test_the_table(images, rate):
    lines = table('Profile', Timeline(ITERATION), images).splitlines()
    assert lines[0] == 'Profile: 0.1 s an iteration' + rate.removeprefix(' an iteration')
    assert lines[1:] == [
        '  part                          s/iteration  per cent',
        '  frozen part, forward              0.01000      10.0',
        '  trained part, forward             0.01800      18.0',
        '  losses                            0.01200      12.0',
        '  backward                          0.02000      20.0',
        '  waiting for data                  0.01000      10.0',
        '  rest (hooks and framework)        0.03000      30.0',
        '  all                               0.10000     100.0',
    ]
