"""What --cfg-options makes of its words."""

from argparse import ArgumentParser

import pytest

from mmkd.cli.cfg_options import KeyValues
from mmkd.errors import UserError


def read(*words: str) -> dict:
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues)
    return parser.parse_args(words).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('3', 3),
        ('0.1', 0.1),
        ('false', False),
        ('None', None),
        ('', ''),
        ("'/my runs/a=b.pth'", '/my runs/a=b.pth'),
        ('/my runs/1.pth', '/my runs/1.pth'),
        ('[1, (2, x)]', [1, (2, 'x')]),
        ('(0,None)', (0, None)),
        ('1,2', [1, 2]),
        ('"[a, b]"', ['a', 'b']),
    ],
)
def test_values(text, value):
    assert read('--cfg-options', f'some.key={text}') == {'some.key': value}


def test_pairs_of_several_flags_are_joined():
    assert read('--cfg-options', 'a=1', 'b=2', '--cfg-options', 'a=3') == dict(a=3, b=2)


@pytest.mark.parametrize(
    ('pair', 'said'), [('lr', "'lr' is no KEY=VALUE"), ('=3', 'is no KEY'), ('a=[1,(2', 'brackets')]
)
def test_mistakes_are_told_in_a_sentence(pair, said):
    with pytest.raises(UserError, match=f'^--cfg-options: .*{said}'):
        read('--cfg-options', pair)
