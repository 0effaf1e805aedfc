from types import SimpleNamespace

import pytest

from mmkd_command import doctor
from tests.command.test_command import python

pytest.importorskip('mmpretrain')


def heal(monkeypatch, capsys) -> tuple[int, str]:
    """The output on this machine, and the exit code."""
    monkeypatch.setattr('sys.argv', ['mmkd doctor'])
    with pytest.raises(SystemExit) as left:
        doctor.main()
    return left.value.code, capsys.readouterr().out


def installed(monkeypatch, **versions: str):
    """Pretend that exactly these toolboxes are installed."""
    names = {name.replace('_', '-'): version for name, version in versions.items()}
    monkeypatch.setattr(doctor, '_installed', lambda wanted: {name: names[name] for name in wanted if name in names})


def test_a_good_ground(monkeypatch, capsys):
    code, said = heal(monkeypatch, capsys)
    assert (code, 'BAD' in said) == (0, False)
    for name in ('Python', 'torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv.ops', 'mmpretrain', 'mmdet', 'CPU', 'GPU'):
        assert f'  {name} ' in said
    assert said.endswith('\nmmkd can work here.\n')


def test_where_mmkd_cannot_start(tmp_path):
    code = (
        'import sys; from importlib import metadata; real = metadata.version\n'
        'def version(name):\n'
        '    if "mmcv" in name: raise metadata.PackageNotFoundError(name)\n'
        '    return "2.4.1" if name == "torch" else real(name)\n'
        'metadata.version = version; sys.argv = ["mmkd", "doctor"]\n'
        'from mmkd_command.main import main; main()'
    )
    done = python(tmp_path, '-c', code)
    assert (done.returncode, done.stderr) == (1, '')
    assert 'BAD torch       torch 2.4.1 (needs >=2.5)' in done.stdout
    assert 'BAD mmcv        not installed (needs >=2.1,<2.4)' in done.stdout
    assert 'To fix it run: pip install "torch>=2.5"' in done.stdout
    assert '"onedl-mmcv>=2.1,<2.4"\n' in done.stdout
    assert done.stdout.splitlines()[-1].startswith('To mend: torch, ')


def test_one_toolbox_is_enough_and_none_is_not(monkeypatch):
    installed(monkeypatch, onedl_mmpretrain='1.3.6', onedl_mmengine='0.10.12')
    good, missing = doctor._toolboxes()
    assert (good.good, missing.good, missing.cure) == (True, None, 'pip install "onedl-mmdetection>=3.3,<3.6"')
    installed(monkeypatch, mmengine='0.10.7')
    assert [(line.good, line.cure) for line in doctor._toolboxes()] == [
        (False, 'pip install "mmpretrain>=1.2,<1.4"'),
        (False, 'pip install "mmdet>=3.3,<3.6"'),
    ]


def test_toolboxes_of_a_wrong_version_or_twice(monkeypatch):
    installed(monkeypatch, mmpretrain='1.0.1', onedl_mmdetection='3.5.1', mmdet='3.3.0', onedl_mmengine='0.10.12')
    old, twice = (line for line in doctor._toolboxes() if not line.good)
    assert (old.name, old.cure) == ('mmpretrain', 'pip install "onedl-mmpretrain>=1.2,<1.4"')
    assert twice.cure == ('pip uninstall -y onedl-mmdetection mmdet && pip install "onedl-mmdetection>=3.3,<3.6"')


def test_what_cannot_be_imported(monkeypatch):
    def broken(name):
        raise ImportError('libGL.so.1: cannot open shared object file\nmore')

    monkeypatch.setattr(doctor, 'import_module', broken)
    (line,) = doctor._broken('mmcv')
    assert (line.good, line.cure) == (False, 'pip install --force-reinstall --no-deps opencv-python-headless')
    assert line.said == 'cannot be imported (ImportError: libGL.so.1: cannot open shared object file)'


@pytest.mark.parametrize(
    ('origin', 'said'), [('/mmkd/mmcv/_ext.so', 'compiled'), ('/mmkd/compat/mmcv_ext.py', 'not compiled; ')]
)
def test_compiled_ops(monkeypatch, origin, said):
    monkeypatch.setattr(doctor, 'find_spec', lambda name: SimpleNamespace(origin=origin))
    monkeypatch.setattr(doctor, 'import_module', lambda name: None)
    assert doctor._ops().said.startswith(said)
