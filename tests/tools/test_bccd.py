"""BCCD's converter, on photos of its layout: 364 names with gaps, of odd sizes, few with boxes."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

TOOL = 'dataset_converters/bccd.py'
GAPS = """
25 27 51 60 61 80 84 85 96 102 105 116 118 119 121 122 128 129 131 138 146 151 153 155 173 181 185 186 188 194
213 238 280 286 306 316 321 328 329 358 363 373 380 394 399 401 406
"""
NUMBERS = sorted(set(range(411)) - set(map(int, GAPS.split())))
VALIDATION = [0, 7, 20, 33, 34, 39, 43, 48, 49, 50, 53, 54, 58, 68, 76, 77, 81, 108]  # the first ones of our results


def name(number: int) -> str:
    return f'BloodImage_{number:05d}'


def add(source: Path, stem: str, size: tuple[int, int], *objects: tuple) -> None:
    for part in ('Annotations', 'JPEGImages'):
        (source / part).mkdir(parents=True, exist_ok=True)
    sides = 'xmin', 'ymin', 'xmax', 'ymax'
    things = ''.join(
        f'<object><name>{kind}</name><pose>Unspecified</pose><bndbox>'
        + ''.join(f'<{side}>{value}</{side}>' for side, value in zip(sides, box))
        + '</bndbox></object>'
        for kind, *box in objects
    )
    width, height = size
    text = f'<annotation><size><width>{width}</width><height>{height}</height></size>{things}</annotation>'
    (source / 'Annotations' / f'{stem}.xml').write_text(text)
    ramp = np.linspace(0, 250, width).astype(np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    Image.fromarray(ramp).save(source / 'JPEGImages' / f'{stem}.jpg', quality=95)


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / 'BCCD'
    add(folder, 'e', (40, 22), ('WBC', 1, 3, 40, 22), ('Platelets', 10, 5, 15, 8), ('RBC', 7, 9, 7, 9))
    add(folder, 'b', (30, 18))
    add(folder, 'c', (12, 8), ('RBC', 0, 0, 7, 8))
    add(folder, 'd', (20, 10), ('RBC', 2, 1, 4, 7), ('WBC', 3, 2, 3, 9))
    add(folder, 'a', (20, 10), ('Platelets', 2, 1, 4, 6))
    return folder


@pytest.fixture
def write():
    return runpy.run_path(str(ROOT / 'tools' / TOOL), run_name='converter')['write']


def test_boxes_and_images_are_halved(source, tmp_path, write):
    target = tmp_path / 'new' / 'bccd'
    assert write(source, target, photos=5, validation=2) == dict(train=3, val=2)
    parts = {part: json.loads((target / f'{part}.json').read_text()) for part in ('train', 'val')}
    names = {part: [image['file_name'] for image in its['images']] for part, its in parts.items()}
    assert names == dict(train=['a.jpg', 'b.jpg', 'c.jpg'], val=['d.jpg', 'e.jpg'])
    assert parts['val']['images'] == [
        dict(id=0, file_name='d.jpg', width=10, height=5),
        dict(id=1, file_name='e.jpg', width=20, height=11),
    ]
    common = dict(iscrowd=0)
    assert parts['val']['annotations'] == [  # without the point and the line
        dict(id=1, image_id=0, category_id=1, bbox=[1.0, 0.5, 1.0, 3.0], area=3.0, **common),
        dict(id=2, image_id=1, category_id=2, bbox=[0.5, 1.5, 19.5, 9.5], area=185.25, **common),
        dict(id=3, image_id=1, category_id=3, bbox=[5.0, 2.5, 2.5, 1.5], area=3.75, **common),
    ]
    assert [each['id'] for each in parts['train']['annotations']] == [1, 2]
    assert parts['train']['annotations'][1] == dict(
        id=2, image_id=2, category_id=1, bbox=[0.0, 0.0, 3.5, 4.0], area=14.0, **common
    )
    for its in parts.values():
        assert its['categories'] == [dict(id=1, name='RBC'), dict(id=2, name='WBC'), dict(id=3, name='Platelets')]
        for image in its['images']:
            with Image.open(target / 'images' / image['file_name']) as photo:
                assert photo.size == (image['width'], image['height'])
    with Image.open(target / 'images' / 'e.jpg') as photo:
        assert np.abs(np.asarray(photo)[5, :, 0] - np.linspace(3, 247, 20)).max() < 5
    assert sorted(path.name for path in target.parent.iterdir()) == ['bccd']
    assert target.stat().st_mode & 0o777 == 0o755


def test_the_split_is_that_of_our_results(run_tool, tmp_path, capsys):
    for number in NUMBERS:
        add(tmp_path / 'BCCD', name(number), (4, 2))
    target = tmp_path / 'bccd320'
    assert run_tool(TOOL, tmp_path / 'BCCD', target) is None
    assert capsys.readouterr().out == f'wrote {target}: 291 images to learn from, 73 to validate\n'
    found = [image['file_name'] for image in json.loads((target / 'val.json').read_text())['images']]
    assert len(found) == 73
    assert found[: len(VALIDATION)] == [f'{name(number)}.jpg' for number in VALIDATION]
    assert found[-1] == f'{name(400)}.jpg'


def refused(write, source: Path, target: Path, words: str) -> None:
    """It ends with a sentence, and leaves nothing behind."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(Exception, match=words) as told:
        write(source, target, photos=5, validation=2)
    assert type(told.value).__name__ == 'UserError'
    assert sorted(target.parent.iterdir()) == before


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('<annotation><object>', r'b\.xml is damaged or has other objects than RBC, WBC, Platelets \(ParseError: '),
        ('<a><object><name>EBC</name></object></a>', r'b\.xml is damaged or has .* \(ValueError: .*\); get it again\.'),
        ('<a><object><name>RBC</name></object></a>', r'b\.xml is damaged or has .* \(ValueError: .*\); get it again\.'),
    ],
)
def test_damaged_annotations_are_told(source, tmp_path, write, content, words):
    (source / 'Annotations' / 'b.xml').write_text(content)
    refused(write, source, tmp_path / 'bccd', words)


def test_missing_and_damaged_images_are_told(source, tmp_path, write):
    path = source / 'JPEGImages' / 'd.jpg'
    path.write_bytes(path.read_bytes()[:300])
    refused(write, source, tmp_path / 'bccd', r'd\.jpg is damaged or no image \(.*\); get it again\.')
    path.unlink()
    refused(write, source, tmp_path / 'bccd', r'd\.jpg does not exist, but has boxes; get the images again\.')


def test_a_folder_that_is_not_the_clone_is_told(run_tool, source, tmp_path):
    get = 'git clone https://github.com/Shenggan/BCCD_Dataset data/BCCD_Dataset'
    said = run_tool(TOOL, tmp_path / 'none', tmp_path / 'x')
    assert said == f'error: folder {tmp_path / "none" / "Annotations"} does not exist; get the data with: {get}'
    said = run_tool(TOOL, source, tmp_path / 'x')
    assert said == f'error: {source / "Annotations"} has 5 .xml files, not 364; get the data again with: {get}'
    shutil.rmtree(source / 'JPEGImages')
    said = run_tool(TOOL, source, tmp_path / 'x')
    assert said == f'error: folder {source / "JPEGImages"} does not exist; get the data with: {get}'
    assert sorted(tmp_path.iterdir()) == [source]
    said = run_tool(TOOL, source, source)
    assert said == f'error: {source} exists already; delete it first if it is to be made again.'
