"""The modules of tools/device and of the benchmark, in this process."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEVICE = ROOT / 'tools' / 'device'


@pytest.fixture
def device(monkeypatch):
    """The modules of tools/device."""
    before = set(sys.modules)
    for folder in (ROOT / 'tools' / 'benchmark', ROOT / 'tools' / 'benchmark' / 'speed', DEVICE):
        monkeypatch.syspath_prepend(folder)
    yield __import__
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], '__file__', '')).startswith(str(ROOT / 'tools')):
            del sys.modules[name]


@pytest.fixture
def page_of(device, monkeypatch, tmp_path):
    """Put the lines of a file onto a page of benchmarks."""

    def add(file: Path) -> str:
        page = tmp_path / 'page.md'
        monkeypatch.setattr(sys, 'argv', ['bench.py', '--add', str(file), '--out', str(page)])
        device('bench').main()
        return page.read_text()

    return add


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
