"""Puts what tools/device/speed.py has measured on another machine onto the page of the benchmarks."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmark_page import Page, Table

from mmkd.errors import UserError


def add(file: Path, path: Path, tables: Mapping[str, Table]) -> None:
    """Add the lines of a file to the page at a path, and to its figures."""
    parts = read(file)
    if unknown := [part for part in parts if part not in tables]:
        raise UserError(f'--add: {file} has lines of another kind ({unknown[0]}); give the speed.jsonl of a device.')
    devices = {row['device'] for rows in parts.values() for row in rows}
    page = Page(path, tables, 'cpu' if all(device.startswith('CPU') for device in devices) else 'gpu')
    for part, rows in parts.items():
        page.add(part, rows)
    print(f'wrote {path}')


def read(file: Path) -> dict[str, list[dict]]:
    """The rows of each part."""
    if not file.is_file():
        raise UserError(f'--add: {file} does not exist; tools/device_run.sh speed writes it into its --out.')
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError as error:
        raise UserError(
            f'--add: {file} is no file of lines of JSON ({error}); copy it from the device again.'
        ) from error
    if not rows:
        raise UserError(f'--add: {file} is empty: nothing was measured.')
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row.pop('part', 'no part'), []).append(row)
    return found
