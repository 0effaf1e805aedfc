"""What a measurement says of its surroundings."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'


@pytest.fixture
def surroundings(monkeypatch, tmp_path):
    """The module, for a small repository with one file of code and one of docs."""
    monkeypatch.syspath_prepend(str(TOOLS))
    module = importlib.import_module('surroundings')
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.delenv('MMKD_COMMIT', raising=False)
    (tmp_path / 'docs').mkdir()
    for name in ('code.py', 'docs/results.md'):
        (tmp_path / name).write_text('as committed')
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b.c']
    for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'first']):
        subprocess.run([*git, *words], cwd=tmp_path, check=True, timeout=60)
    yield module
    sys.modules.pop('surroundings')


def test_a_commit_is_with_changes_only_where_more_than_docs_differs(surroundings, tmp_path):
    head = surroundings.commit()
    assert len(head) >= 7
    assert ' ' not in head
    (tmp_path / 'docs' / 'results.md').write_text('another result')
    assert surroundings.commit() == head
    (tmp_path / 'code.py').write_text('another code')
    assert surroundings.commit() == f'{head} with changes'
