"""A small detection set in COCO format, composed from the handwritten digits."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.datasets.digits import load_digits
from mmkd.errors import UserError

SIDE = 128  # pixels of an image's side
SCALES = (2, 3, 4)  # a digit is drawn 16, 24 or 32 pixels wide
MAX_DIGITS = 5  # on one image
PARTS = (('train', 'train', 300), ('val', 'test', 60))  # name, digits' split, images


def write_digits_coco(folder: Path, seed: int = 0) -> None:
    """Write ``folder``/{train,val}/*.png and ``folder``/{train,val}.json, whole or not at all.

    The training images are made of training digits only. The same seed gives the same pixels and
    the same boxes on every machine.
    """
    if folder.exists():
        raise UserError(f'{folder} exists already; delete it first if it is to be made again.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}-'))
    try:
        for part, (name, split, images) in enumerate(PARTS):
            _write_part(draft, name, split, images, np.random.RandomState([seed, part]))
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_part(folder: Path, name: str, split: str, images: int, rng: np.random.RandomState) -> None:
    glyphs, labels = load_digits(split)
    coco: dict = dict(images=[], annotations=[], categories=[dict(id=i, name=str(i)) for i in range(10)])
    (folder / name).mkdir()
    for image_id in range(1, images + 1):
        canvas = rng.randint(0, 60, (SIDE, SIDE)).astype(np.uint8)
        taken = np.zeros((SIDE, SIDE), bool)
        for _ in range(rng.randint(1, MAX_DIGITS + 1)):
            which, scale = rng.randint(len(glyphs)), SCALES[rng.randint(len(SCALES))]
            glyph = glyphs[which].repeat(scale, axis=0).repeat(scale, axis=1)
            y, x = rng.randint(0, SIDE - glyph.shape[0] + 1, 2)
            place = slice(y, y + glyph.shape[0]), slice(x, x + glyph.shape[1])
            if taken[place].any():
                continue
            taken[place] = True
            canvas[place] = np.maximum(canvas[place], glyph)
            ink = np.zeros((SIDE, SIDE), bool)
            ink[place] = glyph > 60
            coco['annotations'].append(
                dict(
                    id=len(coco['annotations']) + 1,
                    image_id=image_id,
                    category_id=int(labels[which]),
                    iscrowd=0,
                    area=int(ink.sum()),
                    bbox=_box(ink),
                    segmentation=_run_lengths(ink),
                )
            )
        file_name = f'{image_id:04d}.png'
        Image.fromarray(canvas).convert('RGB').save(folder / name / file_name)
        coco['images'].append(dict(id=image_id, file_name=file_name, height=SIDE, width=SIDE))
    (folder / f'{name}.json').write_text(json.dumps(coco))


def _box(ink: np.ndarray) -> list[int]:
    """COCO's x, y, width, height."""
    (top, bottom), (left, right) = (np.flatnonzero(ink.any(axis))[[0, -1]] for axis in (1, 0))
    return [int(left), int(top), int(right - left + 1), int(bottom - top + 1)]


def _run_lengths(ink: np.ndarray) -> dict:
    """COCO's uncompressed run lengths, column by column, beginning with background."""
    flat = np.concatenate([[False], ink.ravel(order='F')])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    return dict(size=list(ink.shape), counts=np.diff([0, *starts, ink.size]).tolist())
