import os
import runpy
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

if 'PYTEST_XDIST_WORKER' in os.environ:  # before torch: with several workers, each must not use all cores
    os.environ['OMP_NUM_THREADS'] = '1'

import pytest

import mmkd  # noqa: F401  (the stand-in must be offered before mmdet is imported)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope='session')
def no_layout():
    """Do not format configs for the log: this took three quarters of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(autouse=True, scope='session')
def no_collection():
    """Skip mmengine's garbage collection for each data set: a third of a second, most of a small run's start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True, scope='session')
def one_look_around():
    """Describe the machine once: for each Runner, mmengine starts compilers to ask for their versions."""
    from mmengine.runner import runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, 'collect_env', cache(runner.collect_env))
        yield


@pytest.fixture(autouse=True, scope='session')
def each_metafile_once():
    """For each config that inherits from a toolbox, mmengine reads all of that toolbox's metafiles."""
    from mmengine.config import utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, '_get_cfg_metainfo', cache(utils._get_cfg_metainfo))
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
