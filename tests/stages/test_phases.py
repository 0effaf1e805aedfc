import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import UserError
from mmkd.stages.phases import Schedule, phase_name, plan_phases

STAGES = 'layer1', 'layer2', 'layer3', 'head'
LESSONS = 'layer1', 'layer2', 'layer3', 'teacher_heads'


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.data())
def test_every_position_lies_in_the_phase_whose_turn_it_is(lengths, data):
    names = tuple(f'stage{i}' for i in range(len(lengths)))
    schedule = Schedule(tuple((name,) for name in names), tuple(lengths), 'epochs', names)
    position = data.draw(st.integers(0, sum(lengths) - 1))
    spelt_out = [i for i, length in enumerate(lengths) for _ in range(length)]
    assert schedule.at(position) == spelt_out[position]
    assert spelt_out[schedule.starts[schedule.at(position)]] == schedule.at(position)


def test_in_words():
    schedule = Schedule((('layer1',), ('layer2', 'layer3'), STAGES), (1, 2, 4000), 'epochs', STAGES)
    assert [schedule.name(i) for i in range(3)] == ['layer1', 'layer2+layer3', 'all']
    assert [schedule.length(i) for i in range(3)] == ['1 epoch', '2 epochs', '4,000 epochs']
    assert str(schedule) == 'Schedule in epochs: layer1 1, layer2+layer3 2, all 4000'
    assert phase_name(('head',), ('head',)) == 'head'


@pytest.mark.parametrize(
    ('wanted', 'unfreeze', 'phases'),
    [
        (['layer1', 'head'], False, (('layer1',), ('head',))),
        (['layer1', 'head'], True, (('layer1',), STAGES)),
        (['all'], False, (STAGES,)),
        ([['layer1', 'layer2'], 'all'], False, (('layer1', 'layer2'), STAGES)),
        (['teacher_heads', 'all'], False, (('teacher_heads',), STAGES)),
        (['layer2', ('layer1', 'head')], False, (('layer2',), ('layer1', 'head'))),
    ],
)
def test_phases(wanted, unfreeze, phases):
    assert plan_phases(wanted, STAGES, LESSONS, unfreeze) == phases


@pytest.mark.parametrize(
    ('wanted', 'teachable', 'unfreeze', 'message'),
    [
        (['layer4'], LESSONS, False, 'the student has no stage layer4, only layer1.* Did you mean layer'),
        (['layer1', 'layer1'], LESSONS, False, 'layer1 is named twice'),
        (['all', 'all'], LESSONS, False, 'all is named twice'),
        (['layer1', 'head'], (), False, 'layer1 cannot be learned without the head'),
        (['teacher_heads', 'head'], STAGES[:3], False, 'the student has no stage teacher_heads'),
        (
            ['head', 'layer1'],
            LESSONS,
            True,
            "only the head can teach all stages; put 'head' into the last entry of stages",
        ),
    ],
)
def test_wrong_phases_are_refused(wanted, teachable, unfreeze, message):
    with pytest.raises(UserError, match=message):
        plan_phases(wanted, STAGES, teachable, unfreeze)
