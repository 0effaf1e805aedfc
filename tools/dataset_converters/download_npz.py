#!/usr/bin/env python3
"""Download a set of small images and write it as data/NAME.npz.

    tools/dataset_converters/download_npz.py cifar100

CIFAR-10 and CIFAR-100 come through torchvision, for mmkd.ArrayDataset; an archive that lies in the folder is not
downloaded again. The Olivetti faces (credit: AT&T Laboratories Cambridge) come through scikit-learn, for identities.py.
"""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no installation

try:
    import numpy as np
    from torchvision import datasets as vision

    from mmkd.errors import UserError, in_one_line
except ImportError as error:
    sys.exit(f'error: {error}')
try:
    from sklearn import datasets as scikit
except ImportError:  # only one of the sets needs it
    scikit = None

CIFAR = dict(cifar10='cifar-10-python.tar.gz', cifar100='cifar-100-python.tar.gz')
GREYS = 242  # the brightest pixel, which scikit-learn makes 1
Arrays = dict[str, np.ndarray]


def cifar(name: str, folder: Path) -> Arrays:
    """Images and labels of both parts."""
    kind = getattr(vision, name.upper())
    train, test = (kind(str(folder), train=is_train, download=True) for is_train in (True, False))
    arrays = {f'{part}_x': its.data for part, its in dict(train=train, test=test).items()}
    labels = {f'{part}_y': np.array(its.targets) for part, its in dict(train=train, test=test).items()}
    return {**arrays, **labels, 'class_names': np.array(train.classes)}


def olivetti(folder: Path) -> Arrays:
    """Grey photos, and whose they are."""
    if scikit is None:
        raise UserError('olivetti: scikit-learn is not installed; pip install scikit-learn.')
    photos = scikit.fetch_olivetti_faces(data_home=str(folder))
    return dict(faces=np.rint(photos.images * GREYS).astype(np.uint8), person=photos.target)


def write(name: str, folder: Path) -> Path:
    """Write the whole file or nothing."""
    path = folder / f'{name}.npz'
    if path.exists():
        raise UserError(f'{path} exists already; delete it first if it is to be made again.')
    folder.mkdir(parents=True, exist_ok=True)
    try:
        arrays = cifar(name, folder) if name in CIFAR else olivetti(folder)
    except (OSError, RuntimeError) as error:
        own = f', or put {CIFAR[name]} into {folder}' if name in CIFAR else ''
        raise UserError(
            f'{name} cannot be downloaded ({in_one_line(error)}); try again with a network{own}.'
        ) from error
    draft = folder / f'.{name}-{os.getpid()}.npz'
    try:
        np.savez(draft, **arrays)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=(*CIFAR, 'olivetti'))
    parser.add_argument('folder', nargs='?', type=Path, default=Path('data'), help='where to write [data]')
    args = parser.parse_args()
    print(f'wrote {write(args.name, args.folder)}')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
