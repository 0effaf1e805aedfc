#!/usr/bin/env python3
"""Write a page of the speeds that tools/device/speed.py has measured."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'benchmark'), str(HERE.parents[1])]

from files import write_whole

from mmkd.errors import UserError

INTRO = """# Speed on {device}

{versions}; commit {commit}; {date}. Written by `tools/device/tables.py` from what `tools/device_run.sh speed`
measured: the median of the rounds in milliseconds an iteration, in brackets the least and the most, then images a
second and the peak of memory. The batch is on the device. **floor** is a loop written by hand, **run everything** one
that runs both whole networks.
"""
HEAD = '| | ms | Images/s | Against the floor | MiB |\n|---|---|---|---|---|'


def page(lines: list[dict]) -> str:
    """A table for each phase that was measured, and what failed."""
    first = lines[0]
    parts = [INTRO.format(**{key: first.get(key, 'not recorded') for key in ('device', 'versions', 'commit', 'date')})]
    for line in lines:
        title = f'{line["pair"]}, {line["method"]}'
        if 'phase' not in line:
            way = f' ({line["way"]})' if 'way' in line else ''
            parts.append(f'{title}{way}: not measured, {line["error"]}\n')
            continue
        parts += [f'## {title}: {line["phase"]}, {line["batch"]} images of {_size(line["size"])}\n', HEAD]
        floor = line['ms'].get('floor', {}).get('median')
        parts += [_row(way, times, floor, line['mib'].get(way)) for way, times in line['ms'].items()]
        parts += [f'\n{who}: not measured, {error}' for who, error in line.get('errors', {}).items()]
        parts.append('')
    return '\n'.join(parts).rstrip() + '\n'


def _row(way: str, times: dict, floor: float | None, memory: object) -> str:
    ratio = f'{times["median"] / floor:.2f}' if floor else ''
    span = f'{times["median"]:g} ({times["least"]:g}-{times["most"]:g})'
    return f'| {way} | {span} | {times["images_per_s"]:,} | {ratio} | {memory if memory is not None else ""} |'


def _size(size: object) -> str:
    return 'x'.join(map(str, size)) if isinstance(size, list) else f'{size}x{size}'


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('speed', type=Path, help='speed.jsonl, as the device left it')
    parser.add_argument('page', type=Path, help='such as docs/device/speed_h200.md')
    args = parser.parse_args()
    if not args.speed.is_file():
        raise UserError(f'{args.speed} does not exist; tools/device_run.sh speed writes it into its --out.')
    try:
        lines = [json.loads(line) for line in args.speed.read_text().splitlines()]
    except ValueError as error:
        raise UserError(
            f'{args.speed} is no file of lines of JSON ({error}); copy it from the device again.'
        ) from error
    if not lines:
        raise UserError(f'{args.speed} is empty: nothing was measured.')
    write_whole(args.page, page(lines))
    print(f'wrote {args.page}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
