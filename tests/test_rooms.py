"""The rooms of the package: imports go one way, and docs/architecture.md names each room."""

import ast
import re
from pathlib import Path

import mmkd

PACKAGE = Path(mmkd.__file__).parent
FILES = {
    '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__'): path
    for path in PACKAGE.rglob('*.py')
    if '.mim' not in path.parts
}
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / '__init__.py').is_file() and path.name != '.mim')
LISTS = {'__init__', 'hooks'}  # names that exist in many rooms


def imported(path: Path) -> set[str]:
    """The modules of mmkd that a file imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'mmkd':
            base = (node.module or '').removeprefix('mmkd').lstrip('.')
            names = [f'{base}.{alias.name}'.lstrip('.') for alias in node.names]
            found |= {name if name in FILES else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {name.name.removeprefix('mmkd.') for name in node.names if name.name.startswith('mmkd.')}
    return found


def rooms_entered(room: str) -> set[str]:
    files = [path for name, path in FILES.items() if name.split('.')[0] == room]
    entered = {name.split('.')[0] for path in files for name in imported(path)}
    return (entered & {*ROOMS, *LISTS}) - {room}


def levels() -> dict[str, int]:
    """The line on which a room stands in the page's list, from the top."""
    page = (PACKAGE.parent / 'docs' / 'architecture.md').read_text()
    lines = page.partition('Imports go down this list only')[2].split('```')[1].splitlines()[1:]
    return {room: number for number, line in enumerate(lines) for room in re.findall(r'\w+', line)}


def test_imports_go_down_the_list_of_the_page():
    level, entered = levels(), {room: rooms_entered(room) & {*ROOMS} for room in ROOMS}
    assert sorted(level) == ROOMS
    assert sum(map(len, entered.values())) > 30  # otherwise the search found nothing
    assert [(room, other) for room in ROOMS for other in entered[room] if level[other] <= level[room]] == []


def test_no_room_but_the_command_line_knows_the_list_of_hooks():
    assert [room for room in ROOMS if 'hooks' in rooms_entered(room)] in ([], ['cli'])


def test_optional_rooms_are_imported_by_the_list_of_hooks_only():
    for optional in ('feature_cache', 'profiling', 'watching'):
        assert [room for room in ROOMS if optional in rooms_entered(room)] == []


def test_a_distiller_knows_no_runner():
    for room in ('distillers', 'tasks', 'stages', 'features', 'heads', 'losses', 'teacher'):
        for path in (PACKAGE / room).glob('*.py'):
            assert 'mmengine.runner import Runner' not in path.read_text(), path


def test_each_room_is_told():
    page = (PACKAGE.parent / 'docs' / 'architecture.md').read_text()
    assert [room for room in ROOMS if f'\n  {room}/ ' not in page] == []


def test_rooms_are_all_there_is():
    loose = sorted(name for name in FILES if '.' not in name and name not in ROOMS)
    assert loose == ['__init__', '__main__', 'errors', 'hooks', 'registry', 'version']
