"""The files that ``pip install .`` installs, used without the checkout."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT
from tests.work_dirs import write_session


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
        timeout=300,
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
    drawn = {path.name for path in (installed / 'mmkd' / 'reporting' / 'assets').iterdir()}
    assert drawn >= {'page.html', 'page.css', 'page.js', 'uplot.js', 'uplot.css', 'uplot_LICENSE'}
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


STUDENT, TEACHER = 'mmkd::baselines/resnet18-w16_digits.py', 'mmkd::baselines/resnet18-w32_digits.py'
COMMANDS = [
    ['distill', STUDENT, '--teacher', TEACHER, 'teacher.pth', '--dry-run'],
    ['compare', STUDENT, 'student.pth', '--cfg-options', 'test_dataloader.dataset.indices=16'],
    ['report', 'run', '--images', '0'],
    ['doctor'],
]


def test_distill_compare_report_and_doctor_in_an_empty_folder(installed, tmp_path):
    """All in one process, for torch and the toolboxes take seconds to import."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('sklearn')
    write_session(tmp_path / 'run')
    code = (
        'import torch; from mmpretrain import get_model; from mmkd.utils.configs import load_config\n'
        f"for name, config in (('student', {STUDENT!r}), ('teacher', {TEACHER!r})):\n"
        '    state = get_model(load_config(config), pretrained=False).state_dict()\n'
        "    torch.save(dict(state_dict=state), f'{name}.pth')\n"
        'from mmkd_command.main import main\n'
        f'for words in {COMMANDS}:\n'
        "    sys.argv = ['mmkd', *words]\n"
        '    try:\n'
        '        main()\n'
        '    except SystemExit as left:\n'
        '        assert not left.code, left.code\n'
    )
    said = run(installed, tmp_path, code)
    for text in (
        'Forward and backward of 8 images',
        'images/s',
        'The report is run/report.html',
        'mmkd can work here.',
    ):
        assert text in said
    assert {path.name for path in tmp_path.iterdir()} == {'student.pth', 'teacher.pth', 'run'}
