"""The modules of tools/device and of the benchmark, in this process."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.tool_modules import tool_modules

DEVICE = ROOT / 'tools' / 'device'


@pytest.fixture
def device():
    """The modules of tools/device."""
    with tool_modules('benchmark', 'benchmark/speed', 'device'):
        yield __import__


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
