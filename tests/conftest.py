import os
import runpy
import signal
import sys
from pathlib import Path

if 'PYTEST_XDIST_WORKER' in os.environ:  # before torch: with several workers, each must not use all cores
    os.environ['OMP_NUM_THREADS'] = '1'

import pytest

import mmkd  # noqa: F401  (the stand-in must be offered before mmdet is imported)
from tests.quick_start import quick_start, quick_weights

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items):
    """Begin with the longest tests, so that no worker waits for them at the end."""
    items.sort(key=lambda item: 'first' not in item.keywords)


@pytest.fixture(autouse=True, scope='session')
def sooner():
    """Begin small trainings sooner."""
    with quick_start():
        yield


@pytest.fixture(scope='module')
def sooner_built():
    """Build large networks sooner, whose weights mean nothing."""
    with quick_weights():
        yield


@pytest.fixture(autouse=True, scope='module')
def scope_of_its_module():
    """Forget the default scope that fixtures of the last module or of the session set."""
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def scope_of_its_own():
    """Forget the default scope that a test set, and where its visualizer writes."""
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for kind in [Visualizer, *Visualizer.__subclasses__()]:
        kind._instance_dict.clear()
    before = DefaultScope._instance_dict.copy()
    yield
    for kind in [Visualizer, *Visualizer.__subclasses__()]:  # before a fixture of a module makes one
        kind._instance_dict.clear()
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def signals_of_its_own():
    """Forget the signal handlers that a test set: trainings that fail leave theirs, and lists that end with a pipe."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if handler is not None:  # then it is not Python's
            signal.signal(number, handler)


@pytest.fixture
def run_tool(monkeypatch):
    """Run a tool in this process and return its exit message, None for success."""

    def run(tool: str, *args: object) -> str | None:
        from mmengine.logging import MMLogger

        MMLogger._instance_dict.clear()  # two runs within a second would share the first one's log
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as stop:
            return str(stop.code)
        return None

    return run


@pytest.fixture(scope='session')
def digits_coco(tmp_path_factory) -> Path:
    """The digits' detection set, made once per session."""
    from mmkd.datasets.digits_coco import write_digits_coco

    folder = tmp_path_factory.mktemp('data') / 'digits_coco'
    write_digits_coco(folder)
    return folder
