"""The command line of ``mmkd compare``."""

import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from mmengine.device import get_device

from mmkd.checkpoints.atomic_files import check_folder
from mmkd.cli.cfg_options import KeyValues
from mmkd.cli.compare.candidates import candidates
from mmkd.cli.compare.comparing import compare
from mmkd.cli.whole_numbers import WholeNumber
from mmkd.errors import UserError, in_one_line


def main() -> None:
    """Compare as the command line says."""
    args = _parse()
    words = args.networks
    if len(words) % 2:
        raise UserError(f'compare: {words[-1]} has no partner; name a config and a checkpoint for each network.')
    _check_device(args.device)
    found = candidates(list(zip(words[::2], words[1::2])), args.names, args.split, args.cfg_options)
    if args.out:
        check_folder('--out', args.out, 'name another folder')
    comparison = compare(found, args.split, args.device, args.batch_size)
    print(comparison.in_terminal(shutil.get_terminal_size((120, 0)).columns))
    if args.out:
        print(f'\nIn {args.out}: {", ".join(path.name for path in comparison.write(Path(args.out)))}')


def _check_device(name: str) -> None:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise UserError(f'--device: {name} cannot be used here ({in_one_line(error)}); name another.') from error


def _parse() -> Namespace:
    parser = ArgumentParser(
        description='Compare trained networks: teacher, student alone, distilled students. Each is evaluated on the '
        'data and by the metric of its own config, which must be the same; a distilled student is tested as the plain '
        'network that it is.'
    )
    parser.add_argument(
        'networks', nargs='+', metavar='CONFIG CHECKPOINT', help='one pair a network; agreement is with the first'
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help="one a network [of the checkpoints' files]")
    parser.add_argument('--out', metavar='DIR', help='write comparison.csv, .json and .md into this folder')
    parser.add_argument('--split', choices=['test', 'val'], default='test', help='the data that count [test]')
    parser.add_argument('--device', default=get_device(), help='cpu, cuda, cuda:1, ... [%(default)s]')
    parser.add_argument(
        '--batch-size',
        action=WholeNumber,
        of='images',
        metavar='N',
        help="images at once, for images/s and memory [the first config's]",
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValues, metavar='KEY=VALUE', help='override keys of all configs'
    )
    return parser.parse_args()
