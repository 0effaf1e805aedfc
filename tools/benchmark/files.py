"""Reads small files, and writes them atomically."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def read_json(path: Path) -> dict | None:
    """The content of a file, None if it does not exist."""
    return json.loads(path.read_text()) if path.is_file() else None


def write_json(path: Path, content: dict) -> None:
    """Write a file for :func:`read_json`."""
    write_whole(path, json.dumps(content, indent=1) + '\n')


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    part.write_text(text)
    os.replace(part, path)


def write_between(path: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Put lines into a file in place of those between two marks."""
    before, _, rest = path.read_text().partition(begin)
    write_whole(path, '\n'.join([f'{before}{begin}', *lines, f'{end}{rest.partition(end)[2]}']))
