#!/usr/bin/env python3
"""Write the COCO-format detection set made of handwritten digits: python tools/dataset_converters/digits_coco.py"""

import sys
from argparse import ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no installation

try:
    from mmkd.datasets.digits_coco import write_digits_coco
    from mmkd.errors import UserError
except ImportError as error:
    sys.exit(f'error: {error}')


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('folder', nargs='?', type=Path, default=Path('data/digits_coco'), help='[data/digits_coco]')
    parser.add_argument('--seed', type=int, default=0, help='[0]')
    args = parser.parse_args()
    write_digits_coco(args.folder, args.seed)
    print(f'wrote {args.folder}')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
