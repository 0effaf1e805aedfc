import shutil
import subprocess
import sys

import pytest

from mmkd.configs import find_config, load_config
from mmkd.errors import UserError
from tests.conftest import ROOT

DIGITS = ROOT / 'configs' / 'baselines' / 'resnet18-w16_digits.py'


@pytest.fixture
def write(tmp_path):
    def save(text: str, name: str = 'mine.py') -> str:
        path = tmp_path / name
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
    """A copy of the package with its links, and nothing that pip wrote about it."""
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
        'import mmkd; from mmkd.configs import load_config\n'
        'print(mmkd.__file__); print(load_config("mine.py").train_dataloader.dataset.type)'
    )
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [str(tmp_path / 'mmkd' / '__init__.py'), 'mmkd.Digits']


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('configs/baselines/resnet18-w16_digit.py', 'does not exist. Did you mean .*resnet18-w16_digits.py'),
        ('configs/baseline/resnet18-w16_digits.py', 'does not exist. Did you mean baselines/resnet18-w16_digits.py'),
        ('mmkd::baselines/resnet_digits.py', 'mmkd has no such config.*Did you mean .*resnet18-w16_digits.py'),
        ('mmkdd::baselines/x.py', 'unknown package mmkdd. Did you mean mmkd'),
        ('mmyolo::yolov5/x.py', 'mmyolo is not installed'),
        ('configs', 'does not exist'),
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


def test_a_near_name_beside_the_file_is_offered(write, tmp_path):
    write('', 'resnet18_mine.py')
    with pytest.raises(UserError, match=r'Did you mean resnet18_mine\.py'):
        load_config(str(tmp_path / 'resnet18_min.py'))


def test_no_path_at_all():
    with pytest.raises(UserError, match=r'^config .* does not exist'):
        load_config('')


def test_a_yaml_config_is_data(write, tmp_path):
    text = f"""
model: !!python/object/apply:os.mkdir ['{tmp_path}/made']
"""
    for path in (write(text, 'evil.yaml'), write("_base_ = 'evil.yaml'\na = 1")):
        with pytest.raises(UserError, match=r'it holds more than data \(could not determine a constructor.*os\.mkdir'):
            load_config(path)
    assert not (tmp_path / 'made').exists()


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
