"""The files that ``pip install .`` installs, used without the checkout."""

import json
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
        timeout=600,
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


SMALL = """
_base_ = 'mmkd::baselines/resnet18-w16_digits.py'
model = dict(
    backbone=dict(stem_channels={width}, base_channels={width}),
    head=dict(in_channels={width} * 8))
train_dataloader = dict(batch_size=16, num_workers=0, persistent_workers=False, dataset=dict(indices=32))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=40))
test_dataloader = val_dataloader
"""
WORDS = ['student.py', '--teacher', 'teacher.py', 'teacher.pth', '--epochs', '7']
COMMANDS = [
    ['distill', *WORDS, '--dry-run'],
    ['distill', *WORDS, '--out', 'mine.py', '--', '--work-dir', 'run'],
    ['compare', 'teacher.py', 'teacher.pth', 'student.py', 'run/epoch_7.pth', '--out', 'comparison'],
    ['report', 'run', '--images', '20'],
    ['doctor'],
    ['train', '--help'],
]


def test_distill_compare_report_and_doctor_in_an_empty_folder(installed, tmp_path):
    """All in one process, for torch and the toolboxes take seconds to import."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('sklearn')
    for name, width in (('student', 4), ('teacher', 6)):
        (tmp_path / f'{name}.py').write_text(SMALL.format(width=width))
    code = (
        'import torch; from mmpretrain import get_model; from mmkd.utils.configs import load_config\n'
        "state = get_model(load_config('teacher.py'), pretrained=False).state_dict()\n"
        "torch.save(dict(state_dict=state), 'teacher.pth')\n"
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
        'The config is mine.py; the training is: mmkd train mine.py --work-dir run',
        'The report is run/report.html',
        'mmkd can work here.',
        '--amp-dtype',
    ):
        assert text in said
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {'student.py', 'teacher.py', 'teacher.pth', 'mine.py', 'run', 'comparison'}
    compared = json.loads((tmp_path / 'comparison' / 'comparison.json').read_text())
    assert [(network['name'], network['accuracy/top1'] >= 0) for network in compared['networks']] == [
        ('teacher', True),
        ('run', True),
    ]
    page = (tmp_path / 'run' / 'report.html').read_text()
    assert all(f'id="{section}"' in page for section in ('figures', 'plan', 'similarity', 'classes', 'cost'))
