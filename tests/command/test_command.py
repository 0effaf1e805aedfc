"""The command ``mmkd``, run outside of a checkout."""

import os
import subprocess
import sys

import pytest

from mmkd_command.docstrings import first_sentence, package, registered
from mmkd_command.main import COMMANDS, main
from tests.conftest import ROOT

HEAVY = 'mmkd', 'mmengine', 'torch', 'numpy'


def python(folder, *args: object) -> subprocess.CompletedProcess:
    """The output of a Python program in an empty folder; PYTHONPATH alone leads to the packages."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def light(folder, *args: str) -> subprocess.CompletedProcess:
    """The output of a subcommand that must not import heavy packages; its last line lists its imports."""
    code = (
        f'import sys; sys.argv = {["mmkd", *args]}\n'
        'from mmkd_command.main import main\n'
        f'main(); print(sorted(set({HEAVY}) & set(sys.modules)))'
    )
    return python(folder, '-c', code)


def test_help_lists_all_subcommands_and_imports_nothing_heavy(tmp_path):
    for args in ((), ('--help',), ('-h',)):
        *said, imported = light(tmp_path, *args).stdout.splitlines()
        assert [line.split(maxsplit=1) for line in said if line.startswith('  ')] == [
            [name, sentence] for name, sentence in COMMANDS.items()
        ]
        assert imported == '[]'


@pytest.mark.parametrize(
    ('name', 'cure'),
    [
        ('tran', ' Did you mean mmkd train?'),
        ('metods', ' Did you mean mmkd methods?'),
        ('x', ' mmkd --help lists them.'),
    ],
)
def test_a_subcommand_with_a_typo(tmp_path, name, cure):
    done = light(tmp_path, name)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == f'error: mmkd {name}: there is no such command.{cure}\n'


def test_methods_and_losses_are_all_those_that_configs_can_name(tmp_path):
    from mmkd.registry import MODELS

    *said, imported = light(tmp_path, 'methods').stdout.splitlines()
    assert imported == '[]'
    names = {line.strip().removeprefix('mmkd.') for line in said if line.startswith('  mmkd.')}
    MODELS.import_from_location()
    rooms = 'mmkd.distillers', 'mmkd.losses'
    assert names == {name for name, kind in MODELS.module_dict.items() if kind.__module__.startswith(rooms)}
    at = said.index('  mmkd.SSKD')
    assert said[at + 1].strip().startswith("The student's backbone mimics the teacher's features one stage at a time,")


def test_each_has_a_sentence():
    for room in ('distillers', 'losses'):
        assert [name for name, sentence in registered(package() / room) if not sentence.endswith('.')] == []


def test_a_first_sentence():
    assert first_sentence('As :class:`SSKD` does,\nby 1. 5 ``x`` (Gao et al. 2019). Then\nmore.\n\nArgs: ...') == (
        'As SSKD does, by 1. 5 x (Gao et al. 2019).'
    )


def test_configs_by_words(tmp_path):
    *said, imported = light(tmp_path, 'configs', 'SSKD', 'swin').stdout.splitlines()
    assert imported == '[]'
    assert said == [
        'mmkd::sskd/sskd_swin-small_swin-tiny_16xb64_in1k.py',
        "    SSKD on ImageNet: mmpretrain's trained Swin-S teaches Swin-T.",
    ]
    every = light(tmp_path, 'configs').stdout.splitlines()[:-1]
    assert len(every) > 100
    assert [text for text in every[1::2] if not text.strip()] == []
    assert not [name for name in every if '_base_' in name]
    none = light(tmp_path, 'configs', 'swin', 'digits')
    assert none.stderr == 'error: mmkd configs: no shipped config has swin and digits; try fewer words, or none.\n'


@pytest.mark.parametrize('name', ['train', 'test'])
def test_train_and_test_are_the_tools(tmp_path, run_tool, monkeypatch, capsys, name):
    """The flags and mistakes of both subcommands; since both call the same main, this suffices."""
    helped = python(tmp_path, '-m', 'mmkd', name, '--help').stdout.replace(f'mmkd {name}', 'PROGRAM')
    monkeypatch.chdir(tmp_path)
    assert run_tool(f'{name}.py', '--help') == '0'
    tool = capsys.readouterr().out.replace(f'{ROOT / "tools" / name}.py', 'PROGRAM').replace(f'{name}.py', 'PROGRAM')
    assert helped.split() == tool.split() != []
    args = ('nowhere.py',) if name == 'train' else ('nowhere.py', 'nowhere.pth')
    monkeypatch.setattr('sys.argv', ['mmkd', name, *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f'error: config nowhere.py does not exist in the current folder, {tmp_path}.'
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path):
    code = (
        'import os, sys; sys.argv = ["mmkd", "configs"]\n'
        'from mmkd_command.main import main\n'
        'reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1); main()'
    )
    assert python(tmp_path, '-c', code).stderr == ''
