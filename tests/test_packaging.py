"""The files that ``pip install .`` installs, used without the checkout."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with the contents of the built wheel, like site-packages."""
    folder = tmp_path_factory.mktemp('package')
    source = folder / 'source'
    files = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split('\0')
    for name in filter(None, files):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).exists():
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', folder, source],
        check=True,
        capture_output=True,
        timeout=600,
    )
    (wheel,) = folder.glob('*.whl')
    site = folder / 'site'
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(installed, tmp_path, code: str) -> str:
    result = subprocess.run(
        [sys.executable, '-c', f'import sys; sys.path.insert(0, {str(installed)!r})\n{code}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_every_config_and_tool_is_in_it(installed):
    for folder in ('configs', 'tools'):
        ours = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob('*')
            if path.is_file() and '__pycache__' not in path.parts
        }
        packed = {
            path.relative_to(installed / 'mmkd' / '.mim')
            for path in (installed / 'mmkd' / '.mim' / folder).rglob('*')
            if path.is_file()
        }
        assert ours == packed
    assert (installed / 'mmkd' / '.mim' / 'model-index.yml').is_file()
    assert not (installed / 'tests').exists()


def test_import_and_config_scope(installed, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmkd::_base_/datasets/digits.py'")
    assert run(installed, tmp_path, 'import mmkd; print(mmkd.__file__)') == str(installed / 'mmkd' / '__init__.py')
    assert (
        run(
            installed,
            tmp_path,
            'import mmkd; from mmengine.config import Config; '
            'print(Config.fromfile("mine.py").train_dataloader.dataset.type)',
        )
        == 'mmkd.Digits'
    )


def test_the_command_in_an_empty_folder(installed, tmp_path):
    (entry,) = installed.glob('*.dist-info/entry_points.txt')
    assert entry.read_text().split('\n')[:2] == ['[console_scripts]', 'mmkd = mmkd_command.main:main']
    start = 'from mmkd_command.main import main; sys.argv = ["mmkd", {}]; main()'
    assert run(installed, tmp_path, start.format('"configs", "sskd", "swin"')).startswith('mmkd::sskd/sskd_swin-small')
    assert 'mmkd.FeatureKD' in run(installed, tmp_path, start.format('"methods"'))
    assert '--amp-dtype' in run(installed, tmp_path, start.format('"train", "--help"'))
    assert list(tmp_path.iterdir()) == []


def test_core_requirements_name_neither_family(installed):
    (metadata,) = installed.glob('*.dist-info/METADATA')
    core = [
        line
        for line in metadata.read_text().splitlines()
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert core
    assert not [line for line in core if 'mm' in line]
