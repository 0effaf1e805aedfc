"""A folder laid out as Tiny ImageNet's archive, with a few images."""

from pathlib import Path

import cv2
import numpy as np

NAMES = 'n02', 'n01', 'n03'  # as in the archive's list, which is not sorted


def write_folder(root: Path, side: int = 64) -> Path:
    """Five training images of each of three classes, and four validation images; one image is grey."""
    rng = np.random.default_rng(0)
    (root / 'val' / 'images').mkdir(parents=True)
    (root / 'wnids.txt').write_text('\n'.join(NAMES) + '\n')
    for name in NAMES:
        folder = root / 'train' / name
        (folder / 'images').mkdir(parents=True)
        (folder / f'{name}_boxes.txt').write_text(f'{name}_0.JPEG\t0\t1\t2\t3\n')
        for number in range(5):
            image = rng.integers(0, 255, (side, side, 1 if number == 4 else 3), dtype=np.uint8)
            cv2.imwrite(str(folder / 'images' / f'{name}_{number}.JPEG'), image)
    lines = [f'val_{number}.JPEG\t{name}\t0\t32\t44\t62\n' for number, name in enumerate(('n03', 'n01', 'n03', 'n02'))]
    (root / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    for number in range(4):
        image = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'val' / 'images' / f'val_{number}.JPEG'), image)
    return root
