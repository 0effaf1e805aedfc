"""Every config in configs/ parses, builds on a CPU, is short and found by mim; those of methods find their stages."""

import ast
from inspect import isclass
from pathlib import Path

import pytest
import yaml

from mmkd.cli.class_checks import check_own_parts
from mmkd.cli.runner_checks import check_spelling
from mmkd.utils.configs import find_config, load_config
from tests.conftest import ROOT
from tests.planned import build, plan

FOLDER = ROOT / 'configs'
LEAVES = sorted(path for path in FOLDER.rglob('*.py') if '_base_' not in path.parts)
METHOD_LINES = 15
pytestmark = pytest.mark.usefixtures('sooner_built')
NOT_A_METHOD = {'baselines'}  # configs of plain trainings, which define a model of their own


def folder_of(path: Path) -> Path:
    """The method's folder, also for configs in its subfolders."""
    return FOLDER / path.relative_to(FOLDER).parts[0]


METHODS = [path for path in LEAVES if folder_of(path).name not in NOT_A_METHOD]


def method_lines(path: Path) -> int:
    """Lines of code without the docstring, comments and blank lines."""
    body = ast.parse(path.read_text()).body
    return sum(
        node.end_lineno - node.lineno + 1
        for node in body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )


def test_there_are_configs():
    assert len(LEAVES) >= 2


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_parses_and_builds(path):
    cfg = load_config(str(path))
    check_own_parts(cfg)
    check_spelling(cfg)
    model = build(cfg)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'train_cfg'):
        assert key in cfg
    if path in METHODS:
        assert cfg.default_hooks.get('stages') != dict(type='mmkd.StageScheduleHook')  # the tools add these hooks
        plan(cfg, model)
        assert 'stages' in cfg.default_hooks
        assert len(cfg.default_hooks) > 1  # the student's own hooks remain
        named = 1 if 'simkd' in path.stem else len(cfg.model.get('pairs', ())) or 3  # SimKD's is all but the head
        assert len(model.plan.stages) >= named


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_teacher_is_what_its_config_trains(path):
    """Our checkpoints lie where tools/train.py writes them, the toolbox's where its metafile says."""
    teacher = load_config(str(path)).model.teacher
    package, inner = teacher.config.split('::')
    pytest.importorskip(package)
    if package == 'mmkd':
        epochs = load_config(teacher.config).train_cfg.max_epochs
        assert teacher.checkpoint == f'work_dirs/{Path(inner).stem}/epoch_{epochs}.pth'
    else:  # compare file names, since the two families of OpenMMLab packages name different hosts
        models = yaml.safe_load((find_config(teacher.config).parent / 'metafile.yml').read_text())['Models']
        stem = Path(inner).stem  # the name of a model, or of a config that several models share
        named = [model for model in models if model['Name'] == stem]
        (model,) = named or [model for model in models if Path(model['Config']).stem == stem]
        assert teacher.checkpoint.split('/')[-1] == model['Weights'].split('/')[-1]


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_method_part_is_short(path):
    assert method_lines(path) <= METHOD_LINES


def test_how_lines_are_counted(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text('"""Doc\n\nstring."""\n# comment\n\na = 1\nb = dict(\n    c=2,\n\n    d=3)\n')
    assert method_lines(file) == 5


def test_every_config_is_in_a_metafile_that_the_index_imports():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [model for file in index['Import'] for model in yaml.safe_load((ROOT / file).read_text())['Models']]
    assert sorted(model['Config'] for model in models) == sorted(str(path.relative_to(ROOT)) for path in LEAVES)
    for model in models:
        assert model['Name'] == Path(model['Config']).stem


@pytest.mark.parametrize('folder', sorted({folder_of(path) for path in LEAVES}), ids=lambda path: path.name)
def test_every_folder_has_a_readme_that_names_its_configs(folder):
    readme = (folder / 'README.md').read_text()
    names = [str(path.relative_to(folder)) for path in LEAVES if folder_of(path) == folder]
    assert [name for name in names if f'({name})' not in readme] == []


LAZY = [path for path in LEAVES if path.parent.name == 'lazy']


def test_there_are_lazy_configs():
    assert {folder_of(path).name for path in LAZY} == {'baselines', 'sskd'}


@pytest.mark.parametrize('path', LAZY, ids=lambda path: path.stem)
def test_lazy_config_says_what_the_other_style_says(path):
    (twin,) = (other for other in LEAVES if other not in LAZY and other.stem.replace('-', '_') == path.stem)
    pytest.importorskip('mmpretrain')
    lazy, text = (plain(load_config(str(file)).to_dict()) for file in (path, twin))
    for key in {'default_hooks', 'randomness'} & set(lazy):  # the other style's base spells out defaults
        lazy[key] = {**text[key], **lazy[key]}
    assert lazy == {key: text[key] for key in lazy}


def plain(node, is_type=False):
    """Compare classes by name, and names without their scope."""
    if isinstance(node, dict):
        return {key: plain(value, key == 'type') for key, value in node.items() if key != '_scope_'}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    if is_type:
        return node.__name__ if isclass(node) else node.split('.')[-1]
    return node
