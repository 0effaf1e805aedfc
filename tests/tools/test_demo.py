"""The demo: its trainings, its comparison, and a second run."""

import csv
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
TINY = ('--iterations', '8', '--cfg-options', 'train_dataloader.dataset.indices=10', 'val_dataloader.dataset.indices=9')


@pytest.mark.long
def test_all_rows_then_nothing_is_trained_again(tmp_path):
    command = [sys.executable, ROOT / 'tools' / 'demo.py', '--work-dir', tmp_path, *TINY]
    said = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True).stdout
    names = ['teacher', 'student alone', 'KD', 'MHKD', 'SSKD', 'SSKD, stages only']
    rows = list(csv.DictReader((tmp_path / 'demo' / 'comparison.csv').read_text().splitlines()))
    assert [row['name'] for row in rows] == names
    assert [row['labels'] for row in rows] == ['1437', '50', '50', '50', '50', '0']
    assert all(int(row['seconds']) > 0 and 0 <= float(row['accuracy/top1']) <= 100 for row in rows)
    table = said[said.index('\n                   labels') :]
    assert [line[:17].strip() for line in table.splitlines()[2:8]] == names
    assert f'In {tmp_path / "demo"}: comparison.csv, comparison.json, comparison.md\n' in table
    report = tmp_path / 'demo' / 'report.html'
    assert f'The report, for a browser, is {report}.' in table
    assert 'resnet18-w16_digits-5-labels' in report.read_text()
    assert said.count(' begins, ') == 6
    assert 'teacher: epoch 1/10' in said
    assert 'KD: 8/8' in said
    again = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True).stdout
    assert again.count(': kept, ') == 6
    assert ' begins, ' not in again


@pytest.mark.parametrize('flag', ['--jobs', '--iterations'])
def test_no_jobs_and_no_iterations_are_told(run_tool, tmp_path, flag):
    assert run_tool('demo.py', '--work-dir', tmp_path, flag, 0).startswith(f'error: {flag}: it must be a whole number')
    assert not list(tmp_path.iterdir())


def test_a_failure_names_the_log(run_tool, tmp_path, capfd):
    said = run_tool('demo.py', '--work-dir', tmp_path, '--jobs', 1, '--cfg-options', 'train_dataloader.batch_size=x')
    log = tmp_path / 'resnet18-w32_digits' / 'console.log'
    assert said == f'error: teacher failed; its log is {log}'
    assert 'batch_size' in log.read_text()
    assert 'MHKD' not in capfd.readouterr().out


def test_a_training_with_other_options_is_not_kept(monkeypatch, tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools' / 'demo.py')
    demo = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'demo', demo)
    spec.loader.exec_module(demo)
    record = demo.ALONE.record(tmp_path)
    assert not demo.is_done(demo.ALONE, tmp_path, ['a=1'])
    record.parent.mkdir()
    record.write_text(json.dumps(dict(options=['a=1'], seconds=3)))
    assert demo.is_done(demo.ALONE, tmp_path, ['a=1'])
    assert not demo.is_done(demo.ALONE, tmp_path, ['a=2'])
