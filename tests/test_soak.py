import pytest

from tests.soak import BEGIN, END, Soak


def test_the_table_takes_the_place_of_the_last_one(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{BEGIN}\nold\n{END}\nafter\n')
    soak = Soak(str(page))
    for repeated in (3, 1):
        with soak.tries('kill') as outcome:
            outcome.repeated = repeated
    with pytest.raises(ValueError, match='wrong'), soak.tries('fire'):
        raise ValueError('wrong')
    text = page.read_text()
    assert text.startswith(f'before\n{BEGIN}\n\n| Fault |')
    assert '| kill | 2 | 2 | 3 iterations |\n| fire | 1 | 0 | nothing |' in text
    assert 'torch 2.' in text
    assert text.endswith(f'{END}\nafter\n')
    assert 'old' not in text
