"""The benchmark grid: what is run, skipped, resumed and reported, mostly with a stub for the trainings."""

import fcntl
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

MODULES = ('cells', 'protocols', 'report', 'results', 'training')


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """The tool's modules, in an empty folder, with a grid of one pair."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'benchmark')
    monkeypatch.chdir(tmp_path)
    modules = {name: __import__(name) for name in MODULES}
    yield type('Bench', (), modules)
    for name in MODULES:
        sys.modules.pop(name)


@pytest.fixture
def protocol(bench):
    return replace(bench.protocols.PROTOCOLS['short'], epochs=2, teacher_epochs=3)


class Training:
    """Stands in for tools/train.py: writes what mmengine logs."""

    def __init__(self, code: int = 0, epochs: int | None = None):
        self.code, self.epochs = code, epochs
        self.folders: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, cell, lock: int) -> int:
        with self.lock:
            self.folders.append(str(cell.folder.relative_to('work_dirs/results/short')))
        log = cell.folder / 'run1' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        lines = [json.dumps({'loss': 1.0, 'step': 7})]
        for epoch in range(1, (self.epochs or cell.epochs) + 1):
            lines.append(json.dumps({'accuracy/top1': 50.0 + cell.seed - 3 * (epoch - 2), 'step': epoch}))
        log.write_text('\n'.join(lines) + '\n')
        return self.code


def test_a_finished_training_is_not_run_again(bench, protocol):
    cell, train = bench.cells.Cell(protocol, 'resnet56_resnet20', 'student', 1), Training()
    assert bench.training.run_cell(cell, train) == 'has 51.00 % at the end, 54.00 % at best'
    assert bench.training.run_cell(cell, train) == 'is finished'
    assert train.folders == ['resnet56_resnet20/student/seed1']
    result = cell.result
    assert (result['last'], result['best'], result['best_epoch']) == (51.0, 54.0, 1)
    assert all(result[key] for key in ('device', 'versions', 'commit', 'date'))


@pytest.mark.parametrize(('train', 'why'), [(Training(code=1), ''), (Training(epochs=1), 'not validated')])
def test_what_failed_has_no_result(bench, protocol, train, why):
    cell = bench.cells.Cell(protocol, 'resnet56_resnet20', 'student')
    outcome = bench.training.run_cell(cell, train)
    assert outcome.startswith('FAILED')
    assert why in outcome
    assert cell.result is None


def test_the_result_is_written_whole_or_not_at_all(bench, tmp_path, monkeypatch):
    path = tmp_path / 'result.json'
    bench.cells.write_json(path, dict(last=1))
    with monkeypatch.context() as patch:
        patch.setattr('os.replace', lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.cells.write_json(path, dict(last=2))
    assert bench.cells.read_json(path) == dict(last=1)


def test_other_options_are_no_resume(bench, protocol):
    run, train = bench.training.run_cell, Training(code=1)
    run(bench.cells.Cell(protocol, 'resnet56_resnet20', 'student'), train)
    longer = bench.cells.Cell(replace(protocol, epochs=4), 'resnet56_resnet20', 'student')
    assert 'begun with another param_scheduler.milestones, train_cfg.max_epochs; remove' in run(longer, train)
    assert len(train.folders) == 1


def test_what_another_process_trains_is_left_alone(bench, protocol):
    cell, train = bench.cells.Cell(protocol, 'resnet56_resnet20', 'student'), Training()
    cell.folder.mkdir(parents=True)
    with (cell.folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 'another process' in bench.training.run_cell(cell, train)
    assert train.folders == []
    assert bench.training.run_cell(cell, train).startswith('has')


@pytest.mark.parametrize('jobs', [1, 3])
def test_teachers_come_first_and_once(bench, protocol, jobs, capsys):
    train = Training()
    cells = bench.results.plan(protocol, ['resnet56_resnet20'], ['student', 'sskd'], [0, 1])
    failed = bench.results.run_grid(cells, jobs, lambda cell: bench.training.run_cell(cell, train))
    assert failed == []
    assert sorted(train.folders) == [
        'resnet56_resnet20/sskd/seed0',
        'resnet56_resnet20/sskd/seed1',
        'resnet56_resnet20/student/seed0',
        'resnet56_resnet20/student/seed1',
        'teachers/resnet56',
    ]
    order = {folder: i for i, folder in enumerate(train.folders)}
    assert order['teachers/resnet56'] < order['resnet56_resnet20/sskd/seed0']
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_without_its_teacher_no_student_is_distilled(bench, protocol):
    train = Training(code=1)
    cells = bench.results.plan(protocol, ['resnet56_resnet20'], ['sskd'], [0])
    failed = bench.results.run_grid(cells, 1, lambda cell: bench.training.run_cell(cell, train))
    assert train.folders == ['teachers/resnet56']
    assert len(failed) == 1


def test_a_method_without_a_config_is_no_error(bench, protocol, monkeypatch):
    monkeypatch.setitem(bench.cells.METHODS, 'kd', ('KD', 'nowhere/{pair}.py'))
    cells = bench.results.plan(protocol, ['resnet56_resnet20'], ['kd'], [0])
    assert [cell.method for cell in cells] == ['kd']  # and no teacher is trained for it
    train = Training()
    assert bench.results.run_grid(cells, 1, lambda cell: bench.training.run_cell(cell, train)) == []
    assert train.folders == []
    write(bench, protocol.name, 'student', 0, 61)
    bench.report.write_report(Path('results.md'))
    assert '| KD | not run: no `configs/nowhere/resnet56_resnet20.py` |' in Path('results.md').read_text()


def write(bench, protocol: str, method: str, seed: int, last: float, pair: str = 'resnet56_resnet20') -> None:
    cell = bench.cells.Cell(bench.protocols.PROTOCOLS[protocol], pair, method, seed)
    cell.folder.mkdir(parents=True)
    where = dict(device='a device', versions='torch 1', commit='abc', date=f'2026-01-0{seed + 1}')
    content = dict(last=last, best=last + 1, best_epoch=1, seconds=90 if seed else None, **where)
    bench.cells.write_json(cell.folder / 'result.json', content)


def test_the_report_says_what_was_run_and_what_not(bench):
    for seed, (alone, distilled) in enumerate([(60.0, 59.0), (61.0, 58.0)]):
        write(bench, 'short', 'student', seed, alone)
        write(bench, 'short', 'sskd', seed, distilled)
    write(bench, 'common', 'student', 0, 69.0)
    write(bench, 'common', 'sskd', 0, 71.0)
    bench.report.write_report(Path('results.md'))
    short, common = Path('results.md').read_text().split('## Protocol `common`')
    assert '- Trained on: 2026-01-01; 2026-01-02' in short
    assert '| Student alone | 0, 1 | 60.50 (60.00 to 61.00) | 61.50 (61.00 to 62.00) |  | 1.5 |' in short
    assert '| SSKD | 0, 1 | 58.50 (58.00 to 59.00) | 59.50 (59.00 to 60.00) | -2.00 | 1.5 |' in short
    assert '| Teacher (40 epochs) | not run |' in short
    assert 'wrn40-2' not in short
    assert '| Student alone | 0 | 69.00 | 70.00 |  | interrupted | -0.06 |' in common
    assert '| SSKD | 0 | 71.00 | 72.00 | +2.00 | interrupted | +0.34 |' in common
    assert '### wrn40-2 teaches wrn16-2' in common
    assert all(line.count('|') == 7 for line in short.splitlines() if line.startswith('|'))


def test_the_short_data(bench):
    images = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
    arrays = dict(train_x=images, train_y=np.array([0, 2, 1, 0]), test_x=images[:1], test_y=np.array([1]))
    reduced = bench.protocols.reduce(arrays, classes=2, side=2)
    assert reduced['train_y'].tolist() == [0, 1, 0]
    assert reduced['train_x'].shape == (3, 2, 2, 3)
    assert reduced['train_x'].dtype == np.uint8
    assert reduced['train_x'][1, 0, 1, 2] == round(images[2, :2, 2:, 2].mean())


def test_absent_data_is_told_in_a_sentence(bench, run_tool):
    assert run_tool('benchmark/results.py').startswith('error: data/cifar100.npz does not exist; write CIFAR-100')


def test_a_real_grid_on_a_few_images(bench, protocol, run_tool, capfd):
    """A teacher and a distilled student, for real; then everything is there already."""
    pytest.importorskip('mmpretrain')
    rng = np.random.RandomState(0)
    arrays = {f'{split}_x': rng.randint(0, 256, (40, 32, 32, 3)).astype(np.uint8) for split in ('train', 'test')}
    Path('data').mkdir()
    np.savez('data/cifar100.npz', **arrays, train_y=np.arange(40) % 20, test_y=np.arange(40) % 20)
    short = replace(protocol, epochs=6, teacher_epochs=1)
    bench.protocols.PROTOCOLS['short'] = short
    args = ('--methods', 'sskd', '--seeds', '3', '--out', 'results.md')
    assert run_tool('benchmark/results.py', *args) is None
    assert '| SSKD | 3 | ' in Path('results.md').read_text()
    assert bench.cells.Cell(short, 'resnet56_resnet20', 'sskd', 3).result
    capfd.readouterr()
    assert run_tool('benchmark/results.py', *args) is None
    assert capfd.readouterr().out.count('is finished') == 2
