"""Every block of Python in README and docs: configs are built and planned, code is run, quotes are what they quote."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, TRANSFORMS, Registry, init_default_scope

from mmkd.cli.checks import check_unlabelled
from mmkd.cli.class_checks import NOT_ARGUMENTS, check_own_parts, dicts_in
from mmkd.cli.default_hooks import add_schedule
from mmkd.cli.runner_checks import check_runner_keys
from mmkd.registry import MODELS
from mmkd.utils.configs import load_config
from mmkd.utils.signatures import parameters_of
from tests.conftest import ROOT
from tests.docs.snippets import BLOCKS, Block, blocks_of
from tests.planned import build, plan

OUTPUT = {'text', 'bibtex'}  # shown, not typed
PAIRS = {  # a student and a teacher, for whom a part of a config may be meant
    'classifiers': ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'mmpretrain::resnet/resnet34_8xb16_cifar10.py'),
    'detectors': (
        'mmkd::baselines/retinanet_r18-w16_digits-coco.py',
        'mmkd::baselines/retinanet_r18-w32_digits-coco.py',
    ),
    'faces': ('mmkd::baselines/mobilefacenet_ms1m.py', 'mmkd::baselines/iresnet18_ms1m.py'),
}
METHODS = ('SSKD', 'FeatureKD', 'MHKD', 'KD')
LAZY_STUDENT = ROOT / 'configs' / 'baselines' / 'lazy' / 'resnet18_w16_digits.py'
CONFIG_KEYS = {
    'model', 'train_cfg', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'unlabelled_dataloader',
    'default_hooks', 'custom_hooks', 'optim_wrapper', 'param_scheduler', 'load_from', 'visualizer', 'vis_backends',
}  # fmt: skip
TEACHER = ast.parse("dict(config='my_teacher.py', checkpoint='my_teacher.pth')", mode='eval').body
DATA_PARTS = (DATASETS, TRANSFORMS, METRICS)
SMALL_SET = SimpleNamespace(data=np.zeros((2, 32, 32, 3), 'uint8'), targets=[0, 1])
PYTHON = [block for block in BLOCKS if block.is_python]


def options() -> set[str]:
    """What the methods take."""
    return {name for method in METHODS for name in parameters_of(MODELS.get(f'mmkd.{method}'))}


class Filled(ast.NodeTransformer):
    """Leaves out what a page leaves out with ``...``; a teacher is needed."""

    def visit_keyword(self, node: ast.keyword) -> ast.keyword | None:
        if not is_left_out(node.value):
            return self.generic_visit(node)
        return ast.keyword('teacher', TEACHER) if node.arg == 'teacher' else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [one for one in node.args if not is_left_out(one)]
        return self.generic_visit(node)

    def visit_List(self, node: ast.List) -> ast.AST:
        node.elts = [one for one in node.elts if not is_left_out(one)]
        return self.generic_visit(node)


def is_left_out(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def names_of(statement: ast.stmt) -> set[str]:
    """What a statement assigns."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def is_config(block: Block) -> bool:
    """Whether a block is a config or parts of one."""
    try:
        body = ast.parse(block.text).body
    except SyntaxError:  # its test says so
        return True
    assigned = set().union(*map(names_of, body))
    return bool(assigned & ({'_base_'} | CONFIG_KEYS | options())) and 'import numpy' not in block.text


def alternatives(block: Block) -> Iterator[tuple[str, list[ast.stmt]]]:
    """The parts of a block that are not meant for one config, each with the file that it is meant for.

    One begins with a comment of its own line, and where a key comes again; a comment may say in which file a line is.
    """
    lines = block.text.splitlines()
    parts: dict[str, list[ast.stmt]] = {}
    for statement in ast.parse(block.text).body:
        file = re.search(r'# in (my_\w+\.py)', lines[statement.end_lineno - 1])
        key = file[1] if file else ''
        known = set().union(*map(names_of, parts.get(key, [])))
        above = lines[statement.lineno - 2] if statement.lineno > 1 else ''
        if parts.get(key) and (names_of(statement) & known or above.startswith('#')):
            yield key, parts.pop(key)
        parts.setdefault(key, []).append(statement)
    yield from parts.items()


def write(folder: Path, statements: list[ast.stmt], base: str) -> str:
    """A config of these statements, as a page's reader has it."""
    own = options() - CONFIG_KEYS
    whole, inner = [], []
    for statement in map(Filled().visit, statements):
        (inner if names_of(statement) & own else whole).append(ast.unparse(statement))
    text = '\n'.join([*whole, *(f'model = dict({ast.unparse(ast.parse(one))})' for one in inner)])
    if '_base_ =' not in text and 'read_base' not in text:
        text = f'_base_ = {base!r}\n{text}'
    file = folder / 'snippet.py'
    file.write_text(text + '\n')
    return file.name


def readers_files(folder: Path, text: str, pair: str) -> None:
    """The files of their own that a page's readers have."""
    student, teacher = PAIRS[pair]
    named = {Path(name).name for name in re.findall(r"'((?:\./)?\w+\.py)'", text)} | {'my_student.py', 'my_teacher.py'}
    for name in named:
        teaches = name == 'my_teacher.py' or re.search(rf"\(config='{name}'", text)
        (folder / name).write_text(f'_base_ = {teacher if teaches else student!r}\n')
    if 'read_base' in text:
        (folder / 'my_student.py').write_text(LAZY_STUDENT.read_text())
    for method in METHODS:
        (folder / f'base_{method}.py').write_text(
            f"_base_ = 'my_student.py'\nmodel = dict(_delete_=True, type='mmkd.{method}', "
            "student={{_base_.model}}, teacher=dict(config='my_teacher.py', checkpoint='my_teacher.pth'))\n"
        )


def check(file: str) -> None:
    """What a training checks and does before its first iteration."""
    cfg = load_config(file)
    cfg.model.pop('teacher_heads', None)  # a file of the reader's
    check_own_parts(cfg)
    check_runner_keys(cfg)
    check_unlabelled(cfg)
    add_schedule(cfg)
    init_default_scope(cfg.default_scope)
    check_data_parts(cfg)
    model = build(cfg)
    if 'student' in cfg.model:
        plan(cfg, model)


def check_data_parts(cfg: Config) -> None:
    """That data sets, their pipelines and metrics exist and take what is given."""
    for key in [key for key in cfg if key.endswith(('_dataloader', '_evaluator'))]:
        for place, part in dicts_in(cfg.get(key) or {}, key):
            if not isinstance(part.get('type'), str) or place.endswith(('sampler', 'collate_fn')):
                continue
            kind = next(filter(None, (found_in(registry, part['type']) for registry in DATA_PARTS)), None)
            assert kind is not None, f'{place}: there is no {part["type"]}'
            unknown = set(part) - NOT_ARGUMENTS - parameters_of(kind).keys()
            assert not unknown, f'{place}: {part["type"]} takes no {unknown}'


def found_in(registry: Registry, name: str) -> type | None:
    with registry.switch_scope_and_registry(None) as of_the_toolbox:
        return of_the_toolbox.get(name)


def bases(block: Block, file: str, text: str, folder: Path) -> list[str]:
    """On what a part of a config may stand: the page's last whole config before it, or a plain one of each method."""
    if file == 'my_student.py' or 'student=' in text or '_base_ =' in text or 'read_base' in text:
        return ['my_student.py']
    model = re.search(r"^model = dict\(type='(?:mmkd\.)?(\w+)'", text, re.MULTILINE)
    if model and model[1] not in METHODS:
        return ['my_student.py', 'my_teacher.py']
    before = [one for one in PYTHON if one.page == block.page and one.line < block.line and '_base_ =' in one.text]
    if before and 'read_base' not in before[-1].text:
        (folder / 'page.py').write_text(before[-1].text)
    is_data = re.match(r'(train|val|test)_dataloader', text)
    own = set(re.findall(r'^(\w+) = ', text, re.MULTILINE)) & (options() - CONFIG_KEYS)
    taking = [one for one in METHODS if own <= parameters_of(MODELS.get(f'mmkd.{one}')).keys()]
    return [*['page.py'] * bool(before), *['my_student.py'] * bool(is_data), *(f'base_{one}.py' for one in taking)]


def problems(block: Block, file: str, statements: list[ast.stmt], folder: Path) -> list[str]:
    """Why each network refuses this part of a config; nothing if one takes it."""
    found = []
    text = '\n'.join(map(ast.unparse, statements))
    likely = 'detectors' if 'mmdet' in text or 'detector' in block.page else 'faces' if 'face' in block.page else ''
    for pair in sorted(PAIRS, key=lambda pair: pair != likely):
        readers_files(folder, block.text, pair)
        for base in bases(block, file, text, folder):
            try:
                check(write(folder, statements, base))
                return []
            except Exception as error:  # a config may fail in any way
                found.append(f'{pair}, {base}: {type(error).__name__}: {error}')
    return found


def ids(block: Block) -> str:
    return str(block)


def test_every_block_is_of_a_known_language():
    strange = [
        f'{block}: {block.language!r}'
        for block in BLOCKS
        if not (block.is_python or block.is_shell or block.language in OUTPUT or block.language.startswith('{'))
    ]
    assert strange == [], 'say how to test it, or that it is text'


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.quoted], ids=ids)
def test_quotes_are_in_their_files(block):
    assert block.text in (ROOT / block.quoted).read_text()


@pytest.mark.parametrize('block', [one for one in PYTHON if not one.quoted and is_config(one)], ids=ids)
def test_configs_are_built_and_planned(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file, statements in alternatives(block):
        refused = problems(block, file, statements, tmp_path)
        assert refused == [], '\n'.join([ast.unparse(statements[0]), *refused])


@pytest.mark.parametrize('block', [one for one in PYTHON if not one.quoted and not is_config(one)], ids=ids)
def test_code_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ('CIFAR10', 'CIFAR100'):
        monkeypatch.setattr(f'torchvision.datasets.{kind}', lambda *_, **__: SMALL_SET)
    (tmp_path / 'data').mkdir()
    exec(compile(block.text, str(block), 'exec'), dict(np=np))


def failing(text: str, folder: Path) -> list[str]:
    """What is said of a block that is wrong."""
    (block,) = blocks_of('wrong.md', f'```python\n{text}```\n')
    return [said for part in alternatives(block) for said in problems(block, *part, folder)]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ("model = dict(..., heds=['layer1'])\n", 'takes no heds'),
        ("default_hooks = dict(stages=dict(stages=['layer9']))\n", 'layer9'),
        ("_base_ = 'mmpretrain::resnet/resnet19_8xb16_cifar10.py'\n", 'resnet19'),
        ("terms = dict(a=dict(loss=dict(type='mmkd.NoLoss'), places=['layer1']))\n", 'NoLoss'),
        ("train_dataloader = dict(dataset=dict(type='mmkd.ArrayDataset', anfile='x.npz'))\n", 'anfile'),
    ],
)
def test_wrong_configs_are_found(text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for pair in ('detectors', 'faces'):  # one is enough
        monkeypatch.delitem(PAIRS, pair)
    found = failing(text, tmp_path)
    assert found
    assert any(said in one for one in found), found
