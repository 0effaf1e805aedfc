"""Reads the docstrings of mmkd's files without importing them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path


def package() -> Path:
    """The folder of the package mmkd."""
    return Path(__file__).resolve().parent.parent / 'mmkd'


def registered(folder: Path) -> Iterator[tuple[str, str]]:
    """The classes of a folder that configs can name, each with its first sentence."""
    for path in sorted(folder.glob('*.py')):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                'register_module' in ast.dump(one) for one in node.decorator_list
            ):
                yield node.name, first_sentence(ast.get_docstring(node) or '')


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, without Sphinx markup."""
    paragraph = ' '.join(text.partition('\n\n')[0].split())
    sentence = re.split(r'(?<=\.)\s+(?=[A-Z])', paragraph)[0]
    return re.sub(r':\w+:`~?([^`]*)`', r'\1', sentence).replace('``', '')
