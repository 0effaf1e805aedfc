#!/usr/bin/env python3
"""Pack a data set of small images (docs/data.md) without loss, to carry it to another machine.

    tools/device/images.py pack data/cifar100.npz SMALL.npz [--train FIRST:LAST] [--test FIRST:LAST]
    tools/device/images.py unpack data/cifar100.npz SMALL.npz [SMALL.npz ...]   # in this order

The images become lossless WebP, 500 of them below each other. Needs Pillow.
"""

import io
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

STRIP = 500
SPLITS = ('train', 'test')


def pack(source: Path, target: Path, parts: dict[str, slice]) -> None:
    """Write some of the images of each split."""
    with np.load(source, allow_pickle=False) as arrays:
        packed = {key: arrays[key] for key in arrays.files if key not in ('train_x', 'train_y', 'test_x', 'test_y')}
        for split in SPLITS:
            images, labels = arrays[f'{split}_x'][parts[split]], arrays[f'{split}_y'][parts[split]]
            packed[f'{split}_y'] = labels.astype(np.uint8) if labels.max(initial=0) < 256 else labels
            packed[f'{split}_shape'] = np.array(images.shape)
            for start in range(0, len(images), STRIP):
                packed[f'{split}_{start // STRIP:04}'] = _strip(images[start : start + STRIP])
    _save(target, packed)


def unpack(target: Path, sources: Sequence[Path]) -> None:
    """Write the images of packed files in the given order."""
    arrays: dict[str, np.ndarray] = {}
    found: dict[str, list] = {f'{split}_{kind}': [] for split in SPLITS for kind in 'xy'}
    for source in sources:
        with np.load(source, allow_pickle=False) as packed:
            arrays |= {key: packed[key] for key in packed.files if not key.startswith(SPLITS)}
            for split in SPLITS:
                shape = packed[f'{split}_shape']
                strips = sorted(key for key in packed.files if key.startswith(f'{split}_') and key[-4:].isdigit())
                images = [np.asarray(Image.open(io.BytesIO(packed[key].tobytes())).convert('RGB')) for key in strips]
                stacked = np.concatenate(images) if images else np.zeros((0, *shape[2:]), np.uint8)
                found[f'{split}_x'].append(stacked.reshape(shape))
                found[f'{split}_y'].append(packed[f'{split}_y'].astype(np.int64))
    _save(target, arrays | {key: np.concatenate(those) for key, those in found.items()})


def _strip(images: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    strip = images.reshape(-1, *images.shape[2:])
    Image.fromarray(strip).save(buffer, 'WEBP', lossless=True, quality=75, method=4)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _save(target: Path, arrays: dict[str, np.ndarray]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'.{os.getpid()}.npz')
    np.savez(part, **arrays)
    os.replace(part, target)
    print(f'{target}: {target.stat().st_size / 2**20:.1f} MiB')


def _range(text: str) -> slice:
    first, _, last = text.partition(':')
    return slice(int(first or 0), int(last) if last else None)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('action', choices=['pack', 'unpack'])
    parser.add_argument('file', type=Path, help='with the images as they are')
    parser.add_argument('packed', type=Path, nargs='+', help='what is carried')
    for split in SPLITS:
        parser.add_argument(f'--{split}', type=_range, default=slice(None), metavar='FIRST:LAST', help='[all]')
    args = parser.parse_args()
    if args.action == 'unpack':
        unpack(args.file, args.packed)
    elif len(args.packed) == 1:
        pack(args.file, args.packed[0], dict(train=args.train, test=args.test))
    else:
        sys.exit('error: pack writes one file')


if __name__ == '__main__':
    main()
