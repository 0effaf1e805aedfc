"""The COCO subset's converter, on a small val2017."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

TOOL = 'dataset_converters/coco_subset.py'
CATEGORIES = [
    dict(supercategory='food', id=7, name='pizza'),
    dict(supercategory='person', id=3, name='person'),
    dict(supercategory='animal', id=20, name='dog'),
]
SIZES = {90: (640, 427), 12: (333, 500), 45: (240, 180), 31: (321, 100), 8: (50, 60), 77: (60, 50)}
BOXES = [  # image, class, box, crowd; in no order of images
    (90, 3, [12.34, 0.0, 100.01, 427.0], 0),
    (12, 20, [300.5, 450.25, 32.5, 49.75], 0),
    (90, 7, [5.55, 6.66, 7.77, 8.88], 0),
    (90, 3, [0, 0, 640, 427], 1),
    (45, 3, [10.1, 20.2, 30.3, 40.4], 0),
    (12, 3, [1.0, 2.0, 3.0, 4.0], 0),
    (77, 3, [1.0, 2.0, 3.0, 4.0], 1),  # only a crowd: not taken
]
OTHERS = {31}  # has no boxes at all
PARTS = [f'{kind}_{part}' for kind in ('instances', 'person') for part in ('train', 'val')]


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'val2017').mkdir()
    images = []
    for number, (width, height) in SIZES.items():
        name = f'{number:012d}.jpg'
        images.append(
            dict(
                id=number, file_name=name, width=width, height=height, license=2, coco_url='u', flickr_url='f', extra=1
            )
        )
        pixels = np.full((height, width), number, np.uint8)  # grey, as some of COCO's are
        Image.fromarray(pixels).save(folder / 'val2017' / name)
    annotations = [
        dict(id=100 - place, image_id=image, category_id=kind, bbox=box, area=1.5, iscrowd=crowd, segmentation=[[1]])
        for place, (image, kind, box, crowd) in enumerate(BOXES)
    ]
    coco = dict(info={}, licenses=[dict(id=2)], images=images, annotations=annotations, categories=CATEGORIES)
    (folder / 'annotations' / 'instances_val2017.json').write_text(json.dumps(coco))
    return folder


@pytest.fixture
def tool() -> dict:
    return runpy.run_path(str(ROOT / 'tools' / TOOL), run_name='converter')


def written(tool: dict, source: Path, target: Path) -> dict[str, dict]:
    tool['write'](source, target, OTHERS, photos=4, validation=1)
    assert sorted(path.stem for path in (target / 'annotations').iterdir()) == sorted(PARTS)
    return {part: json.loads((target / 'annotations' / f'{part}.json').read_text()) for part in PARTS}


def test_images_are_shrunk_and_boxes_with_them(source, tmp_path, tool):
    target = tmp_path / 'new' / 'subset'
    parts = written(tool, source, target)
    assert {part: [image['id'] for image in its['images']] for part, its in parts.items()} == dict(
        instances_train=[12, 31, 90], instances_val=[45], person_train=[12, 31, 90], person_val=[45]
    )
    sizes = {image['id']: image for part in PARTS for image in parts[part]['images']}
    assert sizes[12] == dict(
        id=12,
        file_name='000000000012.jpg',
        license=2,
        coco_url='u',
        flickr_url='f',
        width=213,
        height=320,
        orig_width=333,
        orig_height=500,
    )
    shrunk = {number: (image['width'], image['height']) for number, image in sizes.items()}
    assert shrunk == {12: (213, 320), 31: (320, 100), 45: (240, 180), 90: (320, 214)}  # the small one stays
    for number, size in shrunk.items():
        with Image.open(target / 'images' / f'{number:012d}.jpg') as image:
            assert (image.size, image.mode) == (size, 'RGB')
            assert abs(image.getpixel((5, 5))[1] - number) < 3
    assert len(list((target / 'images').iterdir())) == 4


def test_boxes_are_without_crowds_and_numbered_by_image(source, tmp_path, tool):
    parts = written(tool, source, tmp_path / 'subset')

    def box(number: int, image: int, kind: int, x: float, y: float, width: float, height: float) -> dict:
        old, new = SIZES[image], {12: (213, 320), 45: (240, 180), 90: (320, 214)}[image]
        across, down = new[0] / old[0], new[1] / old[1]
        return dict(
            id=number,
            image_id=image,
            category_id=kind,
            bbox=[round(x * across, 2), round(y * down, 2), round(width * across, 2), round(height * down, 2)],
            area=round(width * across * height * down, 2),
            iscrowd=0,
        )

    dog, walker = box(1, 12, 20, 300.5, 450.25, 32.5, 49.75), box(2, 12, 3, 1, 2, 3, 4)
    small = box(3, 45, 3, 10.1, 20.2, 30.3, 40.4)
    large, pizza = box(4, 90, 3, 12.34, 0, 100.01, 427), box(5, 90, 7, 5.55, 6.66, 7.77, 8.88)
    assert large['bbox'] == [6.17, 0.0, 50.01, 214.0]
    assert parts['instances_train']['annotations'] == [dog, walker, large, pizza]
    assert parts['person_train']['annotations'] == [walker, large]
    assert parts['instances_val']['annotations'] == parts['person_val']['annotations'] == [small]
    assert parts['instances_val']['categories'] == CATEGORIES
    assert parts['person_val']['categories'] == CATEGORIES[1:2]
    assert parts['person_val']['licenses'] == [dict(id=2)]


def test_the_split_and_the_others_are_those_of_our_results(tool):
    """By this order of all ids the first 500 are those of data/coco_subset."""
    order = tool['shuffled'](range(2796)[::-1])
    assert order[:8] == [1388, 2625, 686, 1862, 641, 2484, 1903, 762]
    others = tool['OTHERS'].split()
    assert (len(set(others)), others[0], others[-1]) == (103, '802', '565776')
    assert sum(map(int, others)) == 29_623_243


def test_missing_parts_of_the_download_are_told(run_tool, source, tmp_path):
    annotations = source / 'annotations' / 'instances_val2017.json'
    annotations.unlink()
    said = run_tool(TOOL, source, tmp_path / 'x')
    assert said.startswith(
        f'error: {annotations} does not exist; get it with: curl -f --create-dirs -o data/annotations'
    )
    assert said.endswith(' && unzip -q data/annotations_trainval2017.zip -d data/coco')
    said = run_tool(TOOL, tmp_path / 'none', tmp_path / 'x')
    assert said.startswith(f'error: {tmp_path / "none" / "val2017"} does not exist; get it with: curl -f --create-dirs')
    assert said.endswith('/zips/val2017.zip && unzip -q data/val2017.zip -d data/coco')
    for content in ('{"images": [', '[]', '{"annotations": [{}]}', '{"annotations": []}'):
        annotations.write_text(content)
        said = run_tool(TOOL, source, tmp_path / 'x')
        assert said.startswith(f"error: {annotations} is damaged or not COCO's (")
        assert '); get it again with: curl ' in said
    assert sorted(tmp_path.iterdir()) == [source]


def test_other_annotations_and_missing_images_are_told(run_tool, source, tool, tmp_path):
    said = run_tool(TOOL, source, tmp_path / 'x')
    assert said == (
        'error: the annotations have 3 photos of the COCO subset, not 2,796; '
        'take instances_val2017.json as COCO gives it.'
    )
    path = source / 'val2017' / '000000000090.jpg'
    for damage, words in (
        (lambda: path.write_text('x'), 'is damaged or no image'),
        (path.unlink, 'does not exist, but'),
    ):
        damage()
        with pytest.raises(Exception, match=f'000000000090.jpg {words}') as told:
            written(tool, source, tmp_path / 'x')
        assert type(told.value).__name__ == 'UserError'
    assert sorted(tmp_path.iterdir()) == [source]
    said = run_tool(TOOL, source, source)
    assert said == f'error: {source} exists already; delete it first if it is to be made again.'
