"""Lists the shipped configs."""

import ast
import sys
from argparse import ArgumentParser

from mmkd_command.docstrings import first_sentence, package


def main() -> None:
    """List the configs that contain all words."""
    parser = ArgumentParser(description='List the shipped configs, with a sentence each.')
    parser.add_argument('words', nargs='*', metavar='WORD', help='show only those with all of these words')
    words = [word.lower() for word in parser.parse_args().words]
    found = {name: text for name, text in _shipped().items() if all(word in f'{name} {text}'.lower() for word in words)}
    if not found:
        sys.exit(f'error: mmkd configs: no shipped config has {" and ".join(words)}; try fewer words, or none.')
    for name, text in found.items():
        print(f'{name}\n    {first_sentence(text)}')


def _shipped() -> dict[str, str]:
    """The docstrings of the configs, by the names that configs and tools use for them."""
    folder = package() / '.mim' / 'configs'
    files = sorted(path.relative_to(folder) for path in folder.rglob('*.py'))
    return {
        f'mmkd::{path.as_posix()}': ast.get_docstring(ast.parse((folder / path).read_text())) or ''
        for path in files
        if path.parts[0] != '_base_'
    }
