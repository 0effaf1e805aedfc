"""Whole numbers on the command line, and the mistakes in them."""

import re
from argparse import ArgumentParser

import pytest

from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError


def read(*words: str) -> tuple[int | None, int]:
    parser = ArgumentParser()
    parser.add_argument('--epochs', action=WholeNumber)
    parser.add_argument('--rounds', action=WholeNumber, of='rounds', least=2, default=8)
    found = parser.parse_args(words)
    return found.epochs, found.rounds


@pytest.mark.parametrize(
    ('words', 'found'),
    [
        ((), (None, 8)),
        (('--epochs', '1'), (1, 8)),
        (('--rounds=2', '--epochs', '12'), (12, 2)),
        (('--ro', '3'), (None, 3)),
    ],
)
def test_values(words, found):
    assert read(*words) == found


@pytest.mark.parametrize('text', ['0', '-1', '2.5', 'many', ''])
def test_mistakes(text):
    with pytest.raises(UserError, match=rf'^--epochs: it must be a whole number, 1 or more, not {re.escape(text)}\.$'):
        read('--epochs', text)


def test_the_least_and_what_is_counted_are_told():
    with pytest.raises(UserError, match=r'^--rounds: it must be a whole number of rounds, 2 or more, not 1\.$'):
        read('--ro', '1')
