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
    run = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
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
