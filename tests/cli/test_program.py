import sys

import pytest

from mmkd.cli.program import run
from mmkd.errors import UserError


def mistaken() -> None:
    raise UserError('work_dir: no.')


def test_a_mistake_ends_in_one_sentence_that_torchrun_gets_too(tmp_path, monkeypatch):
    told = tmp_path / 'told.json'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(told))
    with pytest.raises(SystemExit) as left:
        run(mistaken)
    assert left.value.code == 'error: work_dir: no.'
    assert '"error: work_dir: no."' in told.read_text()


def test_its_traceback_is_shown_where_that_is_wanted(monkeypatch):
    monkeypatch.setenv('MMKD_TRACEBACK', '1')
    with pytest.raises(UserError, match='no'):
        run(mistaken)


def test_another_end_stays_as_it_is():
    with pytest.raises(SystemExit) as left:
        run(lambda: sys.exit(2))  # argparse exits with this code for a wrong flag
    assert left.value.code == 2
    run(lambda: None)
