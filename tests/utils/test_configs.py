import shutil
import subprocess
import sys

import mmengine
import pytest

from mmkd.errors import UserError
from mmkd.utils import configs
from mmkd.utils.configs import find_config, load_config
from tests.conftest import ROOT

DIGITS = ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'


@pytest.fixture
def write(tmp_path):
    def save(text: str, name: str = 'mine.py') -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return save


def test_local_path_and_package_path_are_the_same_config():
    pytest.importorskip('mmpretrain')
    assert load_config(str(DIGITS)).model == load_config('mmkd::baselines/resnet18-w16_digits.py').model


def test_package_path_in_base(write):
    pytest.importorskip('mmpretrain')
    cfg = load_config(write("_base_ = 'mmkd::baselines/resnet18-w16_digits.py'\ntrain_cfg = dict(max_epochs=3)"))
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.backbone.base_channels == 16


def test_package_path_from_a_checkout_that_is_not_installed(tmp_path):
    """A copy of the package with its links, and without pip's metadata."""
    shutil.copytree(ROOT / 'mmkd', tmp_path / 'mmkd', symlinks=True)
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    shutil.copy(ROOT / 'model-index.yml', tmp_path)
    (tmp_path / 'mine.py').write_text("_base_ = 'mmkd::_base_/datasets/digits.py'")
    code = (
        'import importlib.metadata as m; find = m.Distribution.from_name.__func__\n'
        'def hide(cls, name):\n'
        '    if name == "mmkd": raise m.PackageNotFoundError(name)\n'
        '    return find(cls, name)\n'
        'm.Distribution.from_name = classmethod(hide)\n'
        'import mmkd; from mmkd.utils.configs import load_config\n'
        'print(mmkd.__file__); print(load_config("mine.py").train_dataloader.dataset.type)'
    )
    run = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.splitlines() == [str(tmp_path / 'mmkd' / '__init__.py'), 'mmkd.Digits']


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        (
            'configs/baselines/resnet18-w16_digit.py',
            r'in the current folder, .*\. Did you mean .*resnet18-w16_digits\.py',
        ),
        (
            'configs/baseline/resnet18-w16_digits.py',
            r'does not exist .* Did you mean baselines/resnet18-w16_digits\.py',
        ),
        ('mmkd::baselines/resnet_digits.py', 'mmkd has no such config.*Did you mean .*resnet18-w16_digits.py'),
        ('mmkdd::baselines/x.py', 'unknown package mmkdd. Did you mean mmkd'),
        ('mmyolo::yolov5/x.py', 'mmyolo is not installed'),
        ('configs', 'config configs: it is a folder, not a file; name a config in it'),
    ],
)
def test_unknown_paths(path, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=message):
        find_config(path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("_base_ = './nowhere.py'", r'mine\.py, in its _base_: config .*nowhere\.py does not exist'),
        ("_base_ = 'mmkd::_base_/datasets/digit.py'", r'in its _base_: .*no such config.* Did you mean digits\.py'),
        ("_base_ = 'mmkdd::_base_/x.py'", 'unknown package mmkdd. Did you mean mmkd'),
        ("_base_ = 'mmyolo::a/b.py'", 'mmyolo is not installed'),
        ('model = dict(', r'mine\.py: no valid Python in line 1'),
        (
            "_base_ = ['mmkd::_base_/datasets/digits.py', 'mmkd::_base_/datasets/cifar100_npz.py']",
            'may not define the same key',
        ),
    ],
)
def test_broken_configs_are_told_in_a_sentence(write, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(text))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.yaml', 'a: [1, 2\nb: }', r'a\.yaml: it is no valid YAML .*line 2'),
        ('a.json', '{"a": 1,}', r'a\.json: it is no valid JSON .*line 1'),
        ('a.json', '', r'a\.json: it is no valid JSON'),
        ('a.yaml', '- 1\n- 2', r'a\.yaml: it must hold keys and values, not a list'),
        ('a.yaml', '', r'a\.yaml: it must hold keys and values, not nothing'),
        ('a.yaml', '_base_: nowhere.yml', r'a\.yaml: file ".*nowhere\.yml" does not exist\.'),
        ('a.json', '{"_base_": 5}', r'a\.json: its _base_ names 5; it must be a path or a list of paths\.'),
        (
            'a.py',
            "_base_ = './a.py'",
            r'a\.py inherits from itself, at once or through other files; name in',
        ),
        ('a.yaml', '_base_: a.yaml', r'a\.yaml: the file inherits from itself'),
        ('a.py', '_base_ = 5', r'a\.py, in its _base_: it must be a path or a list of paths, not 5\.'),
        ('a.py', '_base_ = [None]', r'a\.py, in its _base_: it must be a path or a list of paths, not \[None\]\.'),
        ('a.py', "_base_ = ''", r'a\.py, in its _base_: config .*: it is a folder, not a file'),
        (
            'a.py',
            'x = 1\ny = 1 / 0',
            r'a\.py: line 2 of .*a\.py cannot be read \(ZeroDivisionError: div',
        ),
        ('a.py', "raise ValueError('one\\ntwo')", r'a\.py: line 1 of .*a\.py cannot be read \(ValueError: one\)'),
        ('a.py', "_base_ = x + '.py'", r"a\.py: .*NameError: name 'x' is not defined"),
        (
            'a.py',
            'from mmkd.distillers import SSDK\nmodel = dict(type=SSDK)',
            'Failed to import SSDK from',
        ),
        (
            'a.py',
            "_base_ = './b.py'\nmodel = {{_base_.modelx}}",
            r'\{_base_\.modelx\}\} asks .* Did you mean model\?',
        ),
        (
            'a.py',
            'from mmengine.config import read_base\nwith read_base():\n    from .a import *',
            r'a\.py: the file inherits from itself',
        ),
        ('a.py', "custom_imports = dict(imports=['nowhere'])", r'custom_imports: .*\bnowhere\b.*PYTHONPATH'),
        ('a.txt', 'a = 1', r'a\.txt: a config must end with \.py, \.yaml, \.yml or \.json'),
    ],
)
def test_config_files_of_all_kinds_are_told_in_a_sentence(write, name, text, message):
    write('model = dict(a=1)', 'b.py')
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(text, name))
    assert '\n' not in str(caught.value)


def test_an_error_in_a_base_names_the_base_and_its_line(write):
    write('x = 1\n\ny = x.y', 'b.py')
    with pytest.raises(UserError, match=r'^config .*a\.py: line 3 of .*b\.py cannot be read \(AttributeError: '):
        load_config(write("_base_ = './b.py'", 'a.py'))


def test_two_files_that_inherit_from_each_other(write):
    write("_base_ = './a.py'", 'b.py')
    with pytest.raises(UserError, match=r'a\.py inherits from itself'):
        load_config(write("_base_ = ['./b.py']", 'a.py'))


@pytest.mark.parametrize('path', ['x' * 300 + '.py', 'mmkd::' + 'x' * 300 + '.py', 'a\0b.py'])
def test_names_that_no_file_can_have(path):
    with pytest.raises(UserError, match=r'does not exist|no such config'):
        load_config(path)


def test_a_near_name_beside_the_file_is_offered(write, tmp_path):
    write('', 'resnet18_mine.py')
    with pytest.raises(UserError, match=r'Did you mean resnet18_mine\.py'):
        load_config(str(tmp_path / 'resnet18_min.py'))


def test_names_far_below_a_folder_are_not_looked_for(write, tmp_path):
    write('', 'students/resnet18_mine.py')
    write('', 'data/train/class/resnet18_min_.py')  # such folders hold millions of images
    with pytest.raises(UserError, match=r'Did you mean students/resnet18_mine\.py\?'):
        load_config(str(tmp_path / 'resnet18_min.py'))


def test_no_path_at_all():
    with pytest.raises(UserError, match=r'^config \.: it is a folder'):
        load_config('')


def test_a_yaml_config_is_data(write, tmp_path):
    text = f"""
model: !!python/object/apply:os.mkdir ['{tmp_path}/made']
"""
    for path in (write(text, 'evil.yaml'), write("_base_ = 'evil.yaml'\na = 1")):
        with pytest.raises(UserError, match=r'it holds more than data \(could not determine a constructor.*os\.mkdir'):
            load_config(path)
    assert not (tmp_path / 'made').exists()


def test_metafiles_are_read_once_and_by_compiled_code(write, monkeypatch):
    """For a path in a toolbox, mmengine reads all of its metafiles: half a second in Python, for each path."""
    pytest.importorskip('yaml._yaml')
    pytest.importorskip('mmpretrain')
    configs._load_metafile.cache_clear()
    monkeypatch.setattr('mmengine.config.utils.load', mmengine.fileio.load)  # tests/conftest.py remembers, too
    monkeypatch.delattr('yaml.scanner.Scanner.fetch_more_tokens')
    for depth in (18, 50):
        cfg = load_config(write(f"_base_ = 'mmpretrain::resnet/resnet{depth}_8xb32_in1k.py'"))
        assert cfg.model.backbone.depth == depth
        monkeypatch.setattr('mmengine.fileio.handlers.YamlHandler.load_from_fileobj', None)


@pytest.mark.parametrize('name', ['dumped.yaml', 'dumped.yml', 'dumped.json'])
def test_what_mmengine_dumps_is_read_again(write, tmp_path, name):
    cfg = load_config(write("a = dict(b=(1, (2, 'x')), c=[None, 1e-3, True], d='{1}')"))
    cfg.dump(tmp_path / name)
    again = load_config(str(tmp_path / name)).a
    assert (again.c, again.d) == (cfg.a.c, cfg.a.d)
    assert again.b == (cfg.a.b if name.endswith('ml') else [1, [2, 'x']])


@pytest.mark.parametrize('inner', ['../../../README.md', '../../version.py', '/etc/hosts', 'sskd/../../../setup.py'])
def test_a_package_path_stays_in_its_folder(write, inner):
    for path in (f'mmkd::{inner}', write(f"_base_ = 'mmkd::{inner}'")):
        with pytest.raises(UserError, match=r"mmkd::.*: it lies outside of mmkd's configs; name its path instead"):
            load_config(path)
