"""The command in a notebook."""

import re
import signal
from types import SimpleNamespace

import pytest

from mmkd_command import load_ipython_extension

pytest.importorskip('IPython')


@pytest.fixture
def mmkd():
    found = {}
    load_ipython_extension(SimpleNamespace(register_magic_function=lambda run, kind, name: found.update({name: run})))
    return found['mmkd']


def test_it_runs_the_command(mmkd, capsys):
    before = signal.getsignal(signal.SIGPIPE)
    mmkd('configs "digits" sskd')
    said = capsys.readouterr().out
    assert 'mmkd::sskd/sskd_resnet18-w32_resnet18-w16_digits.py' in said
    assert 'cifar' not in said
    assert signal.getsignal(signal.SIGPIPE) is before


def test_a_command_that_fails_leaves_the_notebook_its_signals(mmkd, monkeypatch):
    """As a training does whose iteration fails: Ctrl-C would only be kept for its end."""

    def fails():
        signal.signal(signal.SIGINT, lambda *_: None)
        raise ValueError('in an iteration')

    monkeypatch.setattr('mmkd_command.notebook.main', fails)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(ValueError, match='in an iteration'):
        mmkd('train my.py')
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_mistake_stops_the_notebook_with_its_sentence(mmkd):
    from IPython.core.error import UsageError

    for line, said in (('reprot x', 'Did you mean mmkd report?'), ('train gone.py', 'config gone.py does not exist')):
        with pytest.raises(UsageError, match=re.escape(said)):
            mmkd(line)
