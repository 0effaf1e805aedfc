"""The table and the files of a comparison."""

import csv
import json

import pytest

from mmkd.cli.compare.comparison import Column, Comparison
from mmkd.errors import UserError


@pytest.fixture
def comparison() -> Comparison:
    rows = [
        dict(name='teacher', top1=71.5, map=0.4126, parameters=2797610, ece=None, config='t.py', checkpoint='t.pth'),
        dict(
            name='a student with a rather long name | and more',
            top1=8.25,
            map=float('nan'),
            parameters=701466,
            ece=12.34,
            config='s.py',
            checkpoint='s.pth',
        ),
    ]
    columns = [
        Column('top1', 'top1'),
        Column('map', 'mAP'),
        Column('parameters', 'parameters', '{:,}'.format),
        Column('ece', 'ECE', '{:.1f} %'.format),
    ]
    return Comparison(rows, columns, dict(split='val', images=9), ['A sentence that tells of the columns and how.'])


def test_wide(comparison):
    assert comparison.in_terminal(120) == (
        '                                               top1    mAP  parameters     ECE\n'
        'teacher                                       71.50  0.413   2,797,610       -\n'
        'a student with a rather long name | and more   8.25    nan     701,466  12.3 %\n'
        '\n'
        'A sentence that tells of the columns and how.'
    )


def test_narrow(comparison):
    """Names are broken at words, columns follow in blocks, and nothing is lost."""
    assert comparison.in_terminal(40) == (
        '                     top1    mAP\n'
        'teacher             71.50  0.413\n'
        'a student with a     8.25    nan\n'
        'rather long name |\n'
        'and more\n'
        '\n'
        '                    parameters     ECE\n'
        'teacher              2,797,610       -\n'
        'a student with a       701,466  12.3 %\n'
        'rather long name |\n'
        'and more\n'
        '\n'
        'A sentence that tells of the columns and\n'
        'how.'
    )


@pytest.mark.parametrize('width', [1, 15, 25, 40, 60, 80, 120])
def test_no_line_is_longer_than_the_terminal(comparison, width):
    text = comparison.in_terminal(width)
    for column in comparison.columns:
        assert text.count(column.title) == 1
    if width >= 25:
        assert max(map(len, text.splitlines())) <= width


def test_markdown(comparison):
    assert comparison.markdown() == (
        '|  | top1 | mAP | parameters | ECE |\n'
        '| --- | ---: | ---: | ---: | ---: |\n'
        '| teacher | 71.50 | 0.413 | 2,797,610 | - |\n'
        '| a student with a rather long name \\| and more | 8.25 | nan | 701,466 | 12.3 % |\n'
        '\nA sentence that tells of the columns and how.\n'
    )


def test_files(comparison, tmp_path):
    files = comparison.write(tmp_path / 'new')
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == sorted(path.name for path in files)
    table, data, _ = files
    first, second = csv.DictReader(table.read_text().splitlines())
    assert (first['top1'], first['parameters'], first['ece'], first['config']) == ('71.5', '2797610', '', 't.py')
    assert (second['map'], second['ece']) == ('', '12.34')
    read = json.loads(data.read_text(), parse_constant=pytest.fail)
    assert (read['split'], read['images']) == ('val', 9)
    assert [row['map'] for row in read['networks']] == [0.4126, None]


def test_a_folder_that_cannot_be(comparison, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'--out: .*file cannot be written \(.*\); name another folder\.'):
        comparison.write(tmp_path / 'file')
    assert (tmp_path / 'file').read_text() == ''
