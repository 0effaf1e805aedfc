"""Looking at detectors: pyramids, a stage for the neck, and images of several sizes, one in a batch."""

import json

import cv2
import pytest

from mmkd.watching.drawing import GAP, HEAD, SIDE
from tests.distil_detectors import config_of, distil, plain, teacher, write_few_digits  # noqa: F401  (fixtures)
from tests.watching.recorder import RECORDED, recorded

SIZES = [(64, 64), (64, 24), (24, 64)]  # rows and columns; they are padded to multiples of 32
STAGES = ('layer1', 'layer2', 'layer3', 'layer4', 'neck')


@pytest.fixture(scope='session')
def kind() -> str:
    pytest.importorskip('mmdet')
    return 'RetinaNet'


@pytest.fixture(scope='session')
def few_digits(tmp_path_factory):
    """Ten images of several sizes for validation."""
    folder = write_few_digits(tmp_path_factory.mktemp('data') / 'uneven_digits', validation=10)
    coco = json.loads((folder / 'val.json').read_text())
    for number, image in enumerate(coco['images']):
        image['height'], image['width'] = rows, columns = SIZES[number % 3]
        path = str(folder / 'val' / image['file_name'])
        cv2.imwrite(path, cv2.imread(path)[:rows, :columns])
    (folder / 'val.json').write_text(json.dumps(coco))
    return folder


@pytest.fixture
def look(distil, tmp_path):  # noqa: F811
    """What is recorded in a run of two epochs; a validation follows the second."""

    def run(hook: dict, **changes):
        short = {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2, 'val_dataloader.batch_size': 1}
        short['val_dataloader.dataset.pipeline.2.with_mask'] = False  # masks are not cut with their images
        stages = dict(stages=['neck', 'head'], lengths=[1, 1])
        runner = distil(tmp_path / 'run', stages, custom_hooks=[hook], **short, **RECORDED, **changes)
        runner.train()
        return recorded(runner)

    return run


def test_similarity_of_images_of_several_sizes(look):
    shown = look(dict(type='mmkd.SimilarityHook', images=9))
    for kind in ('cka', 'cosine'):
        for stage in STAGES:
            values = dict(shown.scalars[f'val_{kind}_{stage}'])
            assert list(values) == [0, 6]
            assert all(-1 <= value <= 1.001 for value in values.values())


def test_pictures_of_features(look):
    shown = look(dict(type='mmkd.FeatureMapsHook', images=4))
    names = [f'features_{stage}' for stage in STAGES[:-1]] + [f'features_neck_{level}' for level in range(3)]
    assert sorted(shown.pictures) == sorted((name, step) for name in names for step in (0, 6))
    rows = [SIDE, SIDE * 24 // 64, SIDE * 24 // 64, SIDE]  # without what the images are padded with
    assert shown.pictures['features_neck_1', 0].shape[0] == HEAD + sum(row + GAP for row in rows)
