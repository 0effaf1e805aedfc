"""Every command in README and docs: its program's parser takes it, what it names is there, and something runs it."""

import os
import re
import runpy
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.utils.configs import find_config, load_config
from mmkd_command.main import main as mmkd
from tests.conftest import ROOT
from tests.docs.commands import COMMANDS, Command, commands_of
from tests.docs.snippets import blocks_of
from tests.tool_modules import tool_modules

RUN = {  # here, for they are quick
    'mmkd methods': 'FeatureKD',
    'mmkd configs': 'digits',
    'mmkd doctor': 'mmkd can work here.',
}
RUN_BY = {  # the programs of all other commands, and who runs them
    'make demo': '.ci/run',
    'make test': '.ci/run',
    'make lint': '.ci/run',
    'make docs': '.ci/run',
    'make results': 'tests/tools/test_arenas.py',
    'make device': 'tests/tools/test_device_run.py',
    'mmkd train': 'tests/tools/test_train.py',
    'mmkd test': 'tests/tools/test_test.py',
    'mmkd distill': 'tests/cli/test_distill.py',
    'mmkd compare': 'tests/cli/compare/test_compare.py',
    'mmkd report': 'tests/cli/test_report.py',
    'tools/train.py': 'tests/tools/test_train.py',  # the configs of the digits: tests/integration, tools/demo.py
    'tools/test.py': 'tests/tools/test_test.py',
    'tools/dist_train.sh': 'tests/tools/test_train.py',
    'tools/dist_test.sh': 'tests/tools/test_shell_scripts.py',
    'tools/slurm_train.sh': 'tests/integration/test_slurm.py',
    'tools/slurm_test.sh': 'tests/tools/test_shell_scripts.py',
    'tools/device_run.sh': 'tests/tools/test_device_run.py',
    'tools/dataset_converters/bccd.py': 'tests/tools/test_bccd.py',
    'tools/dataset_converters/coco_subset.py': 'tests/tools/test_coco_subset.py',
    'tools/dataset_converters/digits_coco.py': 'tests/conftest.py',
    'tools/dataset_converters/download_npz.py': 'tests/tools/test_download_npz.py',
    'tools/dataset_converters/identities.py': 'tests/tools/test_identities.py',
    'tools/model_converters/faces.py': 'tests/tools/test_face_converter.py',
    'tools/model_converters/mobilenet_v2.py': 'tests/tools/test_mobilenet_v2.py',
    'tools/save_teacher_heads.py': 'tests/tools/test_save_teacher_heads.py',
}
RUN_BY_NOBODY = {
    'make test-long': 'takes hours; before a release',
    'make soak': 'takes hours; before a release',
    'make format': 'changes files',
    'git': 'the network',
    'curl': 'the network',
    'unzip': 'what the network gave',
    'cd': 'the same',
    'pip': 'the network; its extra is checked below',
    '.venv/bin/pre-commit': 'the network',
    'scontrol': 'needs a cluster; tests/tools/test_shell_scripts.py runs this batch script without one',
    'code=$?': 'a line of that script',
    '[': 'another',
    'exit': 'the last',
}
FILLED_IN = ('persistent_workers', 'pin_memory', 'seed')  # keys that the tools add
TRAINED = re.compile(r'work_dirs/([^/]+)/(?:epoch|iter)_(\d+)\.pth')
CONFIGS = {path.stem: path for path in (ROOT / 'configs').rglob('*.py')}
OF_A_READER = 'configs/sskd/sskd_resnet56_resnet20_cifar100.py'
MAKEFILE = (ROOT / 'Makefile').read_text()


class Parsed(Exception):
    """The program has understood its arguments."""


@pytest.fixture
def parse(monkeypatch) -> Callable[[list[str]], Namespace]:
    """Start a program, and end it when its arguments are parsed."""
    real = ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        raise Parsed(real(self, args, namespace))

    def run(words: list[str]) -> Namespace:
        monkeypatch.setattr('argparse.ArgumentParser.parse_args', stop)
        monkeypatch.setattr('sys.argv', list(map(str, words)))
        with pytest.raises(Parsed) as parsed, tool_modules():
            mmkd() if words[0] == 'mmkd' else runpy.run_path(str(ROOT / words[0]), run_name='__main__')
        return parsed.value.args[0]

    monkeypatch.chdir(ROOT)
    return run


@pytest.fixture
def through(tmp_path) -> Callable[[list[str]], list[str]]:
    """What a script of the shell starts in the end: a Python program with its arguments."""
    for name in ('srun', 'sbatch', 'python'):
        program = tmp_path / name
        program.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)

    def run(words: list[str]) -> list[str]:
        environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': str(tmp_path / 'python')}
        done = subprocess.run(
            [ROOT / words[0], *words[1:]], capture_output=True, text=True, env=environment, timeout=60, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        first = next((place for place, word in enumerate(said) if word.endswith('.py')), None)
        return [str(Path(said[first]).relative_to(ROOT)), *said[first + 1 :]] if first is not None else []

    return run


def check_names(command: Command) -> None:
    """Configs that are named exist; a checkpoint of a shipped config's run is its last."""
    for word in command.arguments:
        config = word.rpartition(' ')[-1]
        if config.endswith('.py') and ('/' in config or '::' in config):
            find_config(config)
        if trained := TRAINED.fullmatch(word):
            stem, count = trained.groups()
            if not stem.startswith('my_'):
                assert stem in CONFIGS, f'{word}: no shipped config writes there'
                loop = load_config(str(CONFIGS[stem])).train_cfg
                assert int(count) == loop.get('max_epochs', loop.get('max_iters')), f'{word}: it is not the last'


def check_options(args: Namespace) -> None:
    """``--cfg-options`` change keys that the config has."""
    for key in getattr(args, 'cfg_options', None) or {}:
        shipped = '/' in args.config or '::' in args.config  # else it is the reader's own
        node = load_config(args.config if shipped else OF_A_READER).to_dict()
        for part in key.split('.'):
            assert part in node or part in FILLED_IN, f'{key}: the config has no {part}'
            node = node.get(part)


def check_make(command: Command, parse: Callable) -> None:
    """Its target exists, its variables are used, and their flags are known to the tool behind it."""
    targets = [word for word in command.words[1:] if '=' not in word]
    for target in targets:
        assert re.search(rf'^{target}:.*##', MAKEFILE, re.MULTILINE), f'make {target}: there is no such target'
    recipe = MAKEFILE.partition(f'\n{targets[0]}:')[2].partition('\n\n')[0]
    for name, _, value in (word.partition('=') for word in command.words[1:] if '=' in word):
        assert f'$({name})' in recipe, f'make {targets[0]}: {name} means nothing to it'
        tool = re.search(r'tools/[\w/]+\.py', recipe)
        if tool:
            parse([tool[0], *value.split()])


@pytest.mark.parametrize('command', {str(command): command for command in COMMANDS}.values(), ids=str)
def test_programs_take_their_arguments(command, parse, through):
    check(command, parse, through)


def check(command: Command, parse: Callable, through: Callable) -> None:
    program, words = command.program, command.arguments
    left = [word for word in words if re.fullmatch(r'[A-Z_]{3,}', word)]
    assert left == [], 'say in STANDS_FOR what stands for it'
    check_names(command)
    if program.startswith('make '):
        check_make(command, parse)
    elif program.startswith('mmkd '):
        args = parse([*program.split(), *words])
        check_options(args)
        if '--' in words:
            parse(['mmkd', 'train', args.student, *words[words.index('--') + 1 :]])
    elif program.endswith('.py'):
        check_options(parse([program, *words]))
    elif program.endswith('.sh'):
        if started := through([program, *words]):  # a batch job starts nothing yet
            parse(started)
    elif program == 'pip':
        for extra in re.findall(r'\[([\w-]+)\]', ' '.join(words)):
            assert f"'{extra}': requirements(" in (ROOT / 'setup.py').read_text(), f'there is no extra {extra}'
    else:
        assert program in RUN_BY_NOBODY


def test_every_program_is_run_by_something():
    programs = {command.program for command in COMMANDS}
    assert programs - RUN.keys() - RUN_BY.keys() - RUN_BY_NOBODY.keys() == set(), 'say which test runs it'
    for name, file in RUN_BY.items():
        text = (ROOT / file).read_text()
        words = {name, Path(name).stem, name.rpartition(' ')[-1]}
        assert any(word in text for word in words), f'{file} does not run {name}'


@pytest.mark.parametrize(('program', 'said'), RUN.items())
def test_quick_commands_run(program, said, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', program.split())
    monkeypatch.setattr('signal.signal', lambda *_: None)
    left = []
    try:
        mmkd()
    except SystemExit as end:
        left.append(end.code)
    assert left in ([], [0])
    assert said in capsys.readouterr().out


WRONG = {
    'python tools/train.py configs/baselines/resnet18-w16_digits.py --workdir x': SystemExit,
    'python tools/train.py configs/baselines/resnet19_digits.py': Exception,
    'python tools/test.py configs/baselines/resnet18-w16_digits.py work_dirs/sskd_gone/epoch_40.pth': AssertionError,
    'python tools/train.py my.py --cfg-options model.student.backbon.depth=34': AssertionError,
    'mmkd distill CONFIG --teacher CONFIG CHECKPOINT --method skd': SystemExit,
    'mmkd compare CONFIG CHECKPOINT --titles x y': SystemExit,
    'make demos': AssertionError,
    'make demo DEMO_ARG=3': AssertionError,
    "make demo DEMO_ARGS='--sed 1'": SystemExit,
    'tools/slurm_train.sh PARTITION JOB CONFIG': AssertionError,
    'mmkd report WORKDIR': AssertionError,
    'aria2c x': AssertionError,
}


@pytest.mark.parametrize(('text', 'error'), WRONG.items())
def test_wrong_commands_are_found(text, error, parse, through):
    (block,) = blocks_of('wrong.md', f'```shell\n{text}\n```\n')
    (command,) = commands_of(block)
    with pytest.raises(error):
        check(command, parse, through)
