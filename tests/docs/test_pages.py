"""What the docs show of the repository is what is there."""

import json
import re
from statistics import median

import pytest

import mmkd.losses
from tests.conftest import ROOT

DOCS = ROOT / 'docs'
TUTORIAL = (DOCS / 'add_a_method.md').read_text()


def test_the_tutorial_is_short():
    assert len(TUTORIAL.splitlines()) <= 60


@pytest.mark.parametrize('page', ['coming_from_mmrazor', 'coming_from_torchdistill', 'methods', 'feature_kd'])
def test_losses_that_pages_name_exist(page):
    named = set(re.findall(r'`mmkd\.(\w+Loss)`', (DOCS / f'{page}.md').read_text()))
    assert named
    assert named <= set(mmkd.losses.__all__)


@pytest.mark.parametrize('path', sorted(DOCS.glob('*.md')), ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    targets = [link.partition('#')[0] for link in re.findall(r'\]\(([^)\s]+)\)', path.read_text())]
    files = [target for target in targets if target and '://' not in target]
    assert [target for target in files if not (path.parent / target).exists()] == []


@pytest.mark.parametrize('part', ['methods', 'detectors'])
def test_the_costs_of_methods_are_those_that_were_measured(part):
    text = (DOCS / 'methods.md').read_text()
    rows = json.loads((DOCS / 'benchmarks.cpu.json').read_text())[part]
    assert len(rows) > 10
    for row in rows:
        times = row['seconds']['method'], row['seconds']['student alone']
        cost = median(own / alone for own, alone in zip(*times, strict=True))
        start = '_'.join([row['method'], *row['pair'].replace('-> ', '').split()])
        line = next(line for line in text.splitlines() if f'[{start}_' in line)
        assert line.split('|')[4].strip() == f'{cost:.2f}'


def test_what_the_benchmarks_say_of_a_gpu_are_the_bounds_of_the_tests():
    bounds = (ROOT / 'tests' / 'pretended' / 'bounds.md').read_text().splitlines()
    table = (DOCS / 'benchmarks.md').read_text().partition('| | Launches, before |')[2].partition('\n\n')[0]
    shown = table.splitlines()[2:]
    assert len(shown) >= 6
    assert set(shown) <= set(bounds)
