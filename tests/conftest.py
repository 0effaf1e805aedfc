import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

if 'PYTEST_XDIST_WORKER' in os.environ:  # before torch: workers that share the cores must not each take all of them
    os.environ['OMP_NUM_THREADS'] = '1'

import pytest

import mmkd  # noqa: F401  (the stand-in must be offered before mmdet is imported)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope='session')
def no_layout():
    """Laying out its config for the log took three quarters of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(autouse=True, scope='session')
def no_collection():
    """Each data set that mmengine makes has all garbage collected: a third of a second, most of a small run's start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True, scope='module')
def scope_of_its_module():
    """What fixtures of a module or of the session make the default scope is not the next module's."""
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def scope_of_its_own():
    """What a test makes the default scope of registries is not the next test's, nor where its visualizer writes."""
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for kind in [Visualizer, *Visualizer.__subclasses__()]:
        kind._instance_dict.clear()
    before = DefaultScope._instance_dict.copy()
    yield
    for kind in [Visualizer, *Visualizer.__subclasses__()]:  # before a fixture of a whole module makes one
        kind._instance_dict.clear()
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture
def run_tool(monkeypatch):
    """Run a tool in this process and return its exit message, None for success."""

    def run(tool: str, *args: object) -> str | None:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as stop:
            return str(stop.code)
        return None

    return run


@pytest.fixture(scope='session')
def digits_coco(tmp_path_factory) -> Path:
    """The digits' detection set, made once a session."""
    from mmkd.datasets.digits_coco import write_digits_coco

    folder = tmp_path_factory.mktemp('data') / 'digits_coco'
    write_digits_coco(folder)
    return folder
