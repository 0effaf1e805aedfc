"""The figures that the methods' pages name are those of the results."""

import re

import pytest

from tests.conftest import ROOT

DOCS = ROOT / 'docs'


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second order, by the heading's anchor."""
    parts = re.split(r'^## ', (DOCS / f'{page}.md').read_text(), flags=re.MULTILINE)[1:]
    titles = [part.partition('\n')[0] for part in parts]
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-'): part for title, part in zip(titles, parts)}


def figures(table: str) -> list[tuple[str, list[str]]]:
    """Of each row that links to a section of the results, or follows one that does, the section and its figures."""
    found, section = [], ''
    for line in table.splitlines():
        cells = line.split('|')[1:-1]
        section = ''.join(re.findall(r'\(results\.md#([\w-]+)\)', line)) or section
        if section and len(cells) > 1:
            found.append((section, re.findall(r'\d+\.\d', ' '.join(cells[1:]))))
    return found


@pytest.mark.parametrize('page', ['sskd', 'feature_kd', 'mhkd', 'few_labels'])
def test_figures_of_a_method_are_those_of_the_results(page):
    named = sections(page)['results'].partition("\n| digits' detection set")[0]  # whose figures a README has
    results, rows = sections('results'), figures(named)
    assert len(rows) >= 2
    for section, numbers in rows:
        last = set(re.findall(r'^\|[^|]*\|[^|]*\| (\d+\.\d) ', results[section], re.MULTILINE))
        assert set(numbers) <= last, section
