import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import UserError
from mmkd.schedule.budget import check_lengths, check_numbers, default_fractions, split_budget

KEY = 'default_hooks.stages.fractions'
NAMES = ('layer1', 'layer2', 'head')


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.integers(1200, 300000))
def test_lengths_share_out_the_whole_budget(weights, total):
    fractions = [weight / sum(weights) for weight in weights]
    lengths = split_budget(total, [f'stage{i}' for i in range(len(weights))], fractions, 'iterations')
    assert sum(lengths) == total
    assert min(lengths) >= 1
    for length, fraction in zip(lengths, fractions):
        assert abs(length - fraction * total) <= 1.001


@given(st.permutations([0.1, 0.2, 0.3, 0.4]))
def test_lengths_come_in_the_order_of_the_fractions(fractions):
    assert split_budget(1000, 'abcd', fractions, 'epochs') == [round(1000 * fraction) for fraction in fractions]


def test_rounding_errors_do_not_add_up():
    assert split_budget(100, 'abcdef', [1 / 6] * 6, 'epochs') == [17, 16, 17, 17, 16, 17]


@pytest.mark.parametrize('numbers', ['half', [], [True], [0.5, '0.5'], 3, [None]])
def test_numbers_are_a_list_of_numbers(numbers):
    told = f'default_hooks.stages.lengths: it must be a list of numbers, one a stage, not {numbers!r}.'
    with pytest.raises(UserError, match=f'^{re.escape(told)}$'):
        check_numbers('lengths', numbers)


def test_numbers_stay_as_they_are():
    assert check_numbers('lengths', None) is None
    assert check_numbers('lengths', (2, 0.5)) == (2, 0.5)


def test_default_is_half_for_the_head():
    assert default_fractions(('a', 'b', 'c', 'd', 'head'), has_head=True) == [0.125] * 4 + [0.5]
    assert default_fractions(('a', 'b', 'c', 'd'), has_head=False) == [0.25] * 4
    assert default_fractions(('head',), has_head=True) == [1]
    assert default_fractions(('c', 'd', 'head'), has_head=True, left_out=2) == [0.125, 0.125, 0.75]


@given(st.integers(1, 10), st.booleans())
def test_default_is_accepted(count, has_head):
    names = [f'stage{i}' for i in range(count)]
    lengths = split_budget(200, names, default_fractions(names, has_head), 'epochs')
    assert sum(lengths) == 200


@pytest.mark.parametrize(
    ('total', 'fractions', 'sentence'),
    [
        (10, [0.5, 0.5], f'{KEY}: 2 numbers for 3 stages (layer1, layer2, head); give one each.'),
        (10, [0.25, 0.25, 0.6], f'{KEY}: [0.25, 0.25, 0.6] sum to 1.1, not to 1.'),
        (10, [0.5, 0.0, 0.5], f'{KEY}: each must be above 0, not as in [0.5, 0.0, 0.5].'),
        (10, [0.75, -0.25, 0.5], f'{KEY}: each must be above 0, not as in [0.75, -0.25, 0.5].'),
        (10, [math.nan, 0.5, 0.5], f'{KEY}: each must be above 0, not as in [nan, 0.5, 0.5].'),
        (
            10,
            [0.5, 0.01, 0.49],
            f'{KEY}: 10 epochs are too few for 3 stages, nothing is left for layer2; train longer '
            '(train_cfg.max_epochs=50 is enough), learn fewer stages or change the fractions.',
        ),
    ],
    ids=['count', 'sum', 'zero', 'negative', 'nan', 'short'],
)
def test_wrong_fractions_are_refused(total, fractions, sentence):
    with pytest.raises(UserError) as caught:
        split_budget(total, NAMES, fractions, 'epochs')
    assert str(caught.value) == sentence


@given(st.integers(2, 10), st.integers(1, 10))
def test_what_is_said_to_be_enough_is_enough(count, total):
    names = [f'stage{i}' for i in range(count)]
    fractions = default_fractions(names, has_head=True)
    try:
        split_budget(total, names, fractions, 'iterations')
    except UserError as error:
        enough = int(re.search(r'max_iters=(\d+) is enough', str(error))[1])
        assert total < enough <= 2 * count
        split_budget(enough, names, fractions, 'iterations')


def test_where_nothing_is_enough_nothing_is_said():
    with pytest.raises(UserError, match=r'train longer \(train_cfg\.max_epochs\), learn'):
        split_budget(10, 'ab', [1 - 1e-30, 1e-30], 'epochs')


def test_lengths_are_taken_as_they_are():
    assert check_lengths(10, NAMES, (2, 3, 5), 'epochs') == [2, 3, 5]


@pytest.mark.parametrize(
    ('lengths', 'message'),
    [
        ([5, 5], r'lengths: 2 numbers for 3 stages \(layer1, layer2, head\)'),
        ([2, 3, 4], 'whose sum is 10, the epochs that the config trains for'),
        ([5, 0, 5], 'must be whole numbers above 0'),
        ([2.5, 2.5, 5], 'must be whole numbers above 0'),
    ],
)
def test_wrong_lengths_are_refused(lengths, message):
    with pytest.raises(UserError, match=message):
        check_lengths(10, NAMES, lengths, 'epochs')


def test_wrong_lengths_say_both_sums_in_an_epoch_loop():
    with pytest.raises(UserError, match=r'sum is 10, the epochs that .* or 230, its iterations'):
        check_lengths(10, NAMES, [2, 3, 4], 'epochs', iterations=230)
