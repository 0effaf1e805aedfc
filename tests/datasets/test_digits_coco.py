import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from mmkd.datasets import digits_coco as module
from mmkd.datasets.digits_coco import write_digits_coco
from mmkd.errors import UserError

coco_tools = pytest.importorskip('pycocotools.coco')
mask_tools = pytest.importorskip('pycocotools.mask')


def fingerprint(folder) -> str:
    """Hash the pixels and the annotations, not the PNG bytes, which may differ between zlib versions."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*.*')):
        content = path.read_bytes() if path.suffix == '.json' else np.asarray(Image.open(path)).tobytes()
        digest.update(path.name.encode() + content)
    return digest.hexdigest()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, 'PARTS', (('train', 'train', 4), ('val', 'test', 2)))


def test_deterministic_by_seed(tmp_path, small):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        write_digits_coco(tmp_path / name, seed)
    assert fingerprint(tmp_path / 'a') == fingerprint(tmp_path / 'b') != fingerprint(tmp_path / 'c')


def test_boxes_areas_and_masks_agree(digits_coco, capsys):
    coco = coco_tools.COCO(str(digits_coco / 'train.json'))
    assert len(coco.imgs) == 300
    assert {ann['category_id'] for ann in coco.anns.values()} == set(range(10))
    for ann in list(coco.anns.values())[:200]:
        mask = coco.annToMask(ann)
        assert mask.sum() == ann['area'] > 0
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, width, height = ann['bbox']
        assert (x, y, x + width - 1, y + height - 1) == (columns[0], rows[0], columns[-1], rows[-1])
        image = np.asarray(Image.open(digits_coco / 'train' / coco.imgs[ann['image_id']]['file_name']))
        assert image.shape == (128, 128, 3)
        assert (image[mask.astype(bool)] > 60).all()


def test_an_existing_folder_is_left_alone(tmp_path, small):
    (tmp_path / 'here').mkdir()
    with pytest.raises(UserError, match='exists already'):
        write_digits_coco(tmp_path / 'here')
    assert list((tmp_path / 'here').iterdir()) == []


def test_nothing_is_left_of_an_interrupted_run(tmp_path, small, monkeypatch):
    monkeypatch.setattr(json, 'dumps', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_digits_coco(tmp_path / 'out')
    assert list(tmp_path.iterdir()) == []
