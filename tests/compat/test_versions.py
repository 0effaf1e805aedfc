import subprocess
import sys
from importlib import metadata

import pytest

from mmkd.compat import versions
from mmkd.compat.versions import VersionError, check_versions

GOOD = {'torch': '2.14.1+cpu', 'torchvision': '0.29.2', 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6'}


@pytest.fixture
def installed(monkeypatch):
    """Pretend that exactly these distributions are installed."""

    def pretend(**changes):
        names = {**GOOD, **{name.replace('_', '-'): version for name, version in changes.items()}}
        names = {name: version for name, version in names.items() if version}

        def version(name):
            if name not in names:
                raise metadata.PackageNotFoundError(name)
            return names[name]

        monkeypatch.setattr(versions.metadata, 'version', version)
        monkeypatch.setattr(versions.metadata, 'requires', lambda name: ['numpy', 'torch (>=2.14.0)'])

    return pretend


def test_a_good_ground_passes(installed):
    installed()
    check_versions()


OPENMMLAB = dict(onedl_mmengine='', onedl_mmcv='', mmengine='0.10.7', mmcv_lite='2.1.0', torchvision='0.20.1')


def test_the_other_family_passes_on_the_torch_it_can_load_checkpoints_with(installed, monkeypatch):
    installed(**OPENMMLAB, torch='2.5.1')
    monkeypatch.setattr(versions.metadata, 'requires', lambda name: ['torch==2.5.1'])
    check_versions()


def test_the_other_family_is_refused_on_later_torch(installed):
    installed(**OPENMMLAB, torch='2.14.1')
    with pytest.raises(
        VersionError, match=r'mmengine 0\.10\.7 cannot load its checkpoints with torch 2\.14\.1'
    ) as caught:
        check_versions()
    assert str(caught.value).endswith('pip uninstall -y mmengine && pip install "onedl-mmengine>=0.10.4,<1.0"')


@pytest.mark.parametrize(
    ('changes', 'cause', 'command'),
    [
        (dict(onedl_mmcv=''), 'mmcv is not installed (needs >=2.1,<2.4)', 'pip install "onedl-mmcv>=2.1,<2.4"'),
        (
            dict(torch='1.13.1'),
            'torch 1.13.1 does not fit (needs >=2.5)',
            'pip install "torch>=2.5" "torchvision>=0.20"',
        ),
        (
            dict(onedl_mmengine='', mmengine='0.7.0'),
            'mmengine 0.7.0 does not fit',
            'pip uninstall -y mmengine && pip install "onedl-mmengine>=0.10.4,<1.0"',
        ),
        (
            dict(mmcv='2.1.0'),
            'mmcv is installed twice, by onedl-mmcv and mmcv',
            'pip uninstall -y onedl-mmcv mmcv && pip install "onedl-mmcv>=2.1,<2.4"',
        ),
        (
            dict(torch='2.13.0'),
            'torchvision 0.29.2 needs torch>=2.14.0, but torch 2.13.0 is installed',
            'pip install "torchvision>=0.20"',
        ),
    ],
)
def test_one_sentence_with_cause_and_command(installed, changes, cause, command):
    installed(**changes)
    with pytest.raises(VersionError) as caught:
        check_versions()
    assert cause in str(caught.value)
    assert str(caught.value).endswith(f'To fix it run: {command}')
    assert '\n' not in str(caught.value)


def test_everything_wrong_is_told_at_once(installed):
    installed(torch='', onedl_mmengine='', onedl_mmcv='1.7.0')
    with pytest.raises(VersionError) as caught:
        check_versions()
    assert all(
        part in str(caught.value)
        for part in ('torch is not installed', 'mmengine is not installed', 'onedl-mmcv 1.7.0 does not fit')
    )


def test_the_import_itself_fails_without_a_traceback_wall(tmp_path):
    """``import mmkd`` in a tool that a user starts, where nothing is installed."""
    from tests.conftest import ROOT

    bare = tmp_path / 'bare.py'
    bare.write_text(
        'import importlib.metadata as m, runpy, sys\n'
        'def version(name): raise m.PackageNotFoundError(name)\n'
        'm.version = version\n'
        f'sys.argv = ["train.py", "x.py"]\nrunpy.run_path({str(ROOT / "tools/train.py")!r}, '
        'run_name="__main__")'
    )
    run = subprocess.run([sys.executable, bare], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert run.stderr.startswith('error: mmkd cannot start: torch is not installed')
    assert len(run.stderr.splitlines()) == 1
