"""The short log of trainings of mmengine's own with next to no model."""

import io
import re
import sys

import pytest

from mmkd.cli.short_log import ShortLog, only_warnings_on_the_console
from tests.toy import toy_runner


class Terminal(io.StringIO):
    """A standard output, or a terminal."""

    def __init__(self, terminal: bool):
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def said(tmp_path, monkeypatch):
    """What a training printed, without durations, and the text of its log file."""

    def run(terminal: bool = False, **options) -> tuple[str, str]:
        screen = Terminal(terminal)
        monkeypatch.setattr(sys, 'stdout', screen)
        with only_warnings_on_the_console():
            runner = toy_runner(tmp_path / 'run', **options)
        runner.register_hook(ShortLog())
        runner.train()
        runner.logger.warning('This is for everybody.')
        (log,) = tmp_path.rglob('*.log')
        return re.sub(r'[\d.]+ s\b', 'T', screen.getvalue()).replace(str(log), 'LOG'), log.read_text()

    return run


def test_a_line_an_epoch_in_a_file(said):
    printed, log = said(budget=3, scores=(11.0, 22.0, 33.0))
    lines = [re.sub(r'loss [\d.e-]+', 'loss L', line) for line in printed.splitlines() if 'WARNING' not in line]
    assert lines == [
        '3 epochs, 12 iterations; the full log: LOG',
        'epoch 1/3  T left  loss L  score 11',
        'epoch 2/3  T left  loss L  score 22',
        'epoch 3/3  loss L  score 33',
        'trained in T',
    ]
    assert printed.endswith('This is for everybody.\n')
    assert 'FileClient' in log  # mmengine warns of its own code, which no user can mend
    assert 'FileClient' not in printed
    assert re.search(r'Epoch\(train\) +\[1\]\[4/4\]', log)
    assert '\r' not in printed


def test_the_loss_is_the_mean_over_the_epoch(said, monkeypatch):
    losses = []
    update = ShortLog.after_train_iter

    def watch(self, runner, batch_idx, data_batch=None, outputs=None):
        losses.append(float(outputs['loss'].detach()))
        update(self, runner, batch_idx, data_batch, outputs)

    monkeypatch.setattr(ShortLog, 'after_train_iter', watch)
    printed, _ = said(budget=2)
    told = [float(loss) for loss in re.findall(r'loss ([\d.e-]+)', printed)]
    assert told == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 4], rel=1e-3)


def test_iterations_have_a_line_for_each_tenth(said):
    printed, _ = said(by_epoch=False, budget=45)
    counts = [line.split()[0] for line in printed.splitlines() if '/45' in line]
    assert counts == [f'{done}/45' for done in (*range(4, 45, 4), 45)]


def test_a_bar_on_a_terminal(said, monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    monkeypatch.setattr('mmkd.cli.short_log.OFTEN', 0)
    printed, _ = said(terminal=True, budget=2)
    bars = [part for part in printed.split('\r') if part.startswith('[')]
    assert len(bars) == 6, 'all but the last iteration of each epoch'
    assert bars[-1].startswith('[================  ') or '87 %' in bars[-1]
    assert [bar for bar in bars if len(bar) > 39 or not bar.rstrip().endswith('left')] == []
    lines = [line.split('\r')[-1] for line in printed.split('\n')]
    assert [line[:9] for line in lines if line.startswith('epoch')] == ['epoch 1/2', 'epoch 2/2'], 'in place of the bar'
