#!/usr/bin/env python3
"""Write the COCO subset: photos of COCO val2017, shrunk, as the configs for it read them.

    curl -f --create-dirs -o data/val2017.zip http://images.cocodataset.org/zips/val2017.zip
    curl -fo data/annotations_trainval2017.zip http://images.cocodataset.org/annotations/annotations_trainval2017.zip
    unzip -q data/val2017.zip -d data/coco
    unzip -q data/annotations_trainval2017.zip -d data/coco
    tools/dataset_converters/coco_subset.py data/coco data/coco_subset

It takes all photos with a person and 103 others, 2,796, and splits them at random, but always alike: 500 to validate,
2,296 to learn from. The longest side becomes 320 pixels. Crowd regions are left out, and `area` is the box's.
"""

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a checkout needs no installation

try:
    from detection_set import Size, annotation, save_smaller, shuffled, whole, write_json

    from mmkd.errors import UserError, in_one_line
except ImportError as error:
    sys.exit(f'error: {error}')

URL = 'http://images.cocodataset.org'
GET = {  # by what is missing below the source
    'val2017': (
        f'curl -f --create-dirs -o data/val2017.zip {URL}/zips/val2017.zip && unzip -q data/val2017.zip -d data/coco'
    ),
    'annotations/instances_val2017.json': (
        'curl -f --create-dirs -o data/annotations_trainval2017.zip '
        f'{URL}/annotations/annotations_trainval2017.zip && unzip -q data/annotations_trainval2017.zip -d data/coco'
    ),
}
PHOTOS, VALIDATION = 2796, 500
SIDE = 320  # pixels of an image's longest side
QUALITY = 88  # of the JPEGs
OTHERS = """
802 11813 18575 20247 22192 22892 25986 30213 55299 56344 62554 66841 73326 92660 99053 101780 101787 104455 106235
113354 116479 119828 125952 128051 128598 135561 161044 163951 168458 174231 175364 184321 199681 208901 211042
215778 221708 229997 234757 235064 237517 239041 239627 244592 249025 252332 253452 255165 256518 261712 262227
262440 262682 269196 269314 275791 286458 310200 318080 328683 333956 344100 346638 354072 357081 357501 358427
359219 359937 369771 377575 378605 384513 391648 402433 403353 407574 416256 435081 453302 453634 454661 460229
475678 476704 485895 505573 508602 516916 519611 521601 527220 530836 539445 540280 546826 551780 553664 555009
557172 560256 565607 565776
"""  # without a person

Coco = dict[str, Any]


def read(source: Path) -> Coco:
    """COCO's annotations of val2017, without crowd regions."""
    for needed, command in GET.items():
        if not (source / needed).exists():
            raise UserError(f'{source / needed} does not exist; get it with: {command}')
    path = source / 'annotations' / 'instances_val2017.json'
    try:
        coco = json.loads(path.read_text())
        coco['annotations'] = [each for each in coco['annotations'] if not each['iscrowd']]
        return {key: coco[key] for key in ('licenses', 'images', 'annotations', 'categories')}
    except (ValueError, KeyError, TypeError) as error:
        command = GET['annotations/instances_val2017.json']
        raise UserError(
            f"{path} is damaged or not COCO's ({in_one_line(error)}); get it again with: {command}"
        ) from error


def chosen(coco: Coco, others: set[int], photos: int) -> list[dict[str, Any]]:
    """The photos with a person and the others, by their ids."""
    person = {each['id'] for each in coco['categories'] if each['name'] == 'person'}
    people = {each['image_id'] for each in coco['annotations'] if each['category_id'] in person}
    images = [each for each in coco['images'] if each['id'] in people | others]
    if len(images) != photos:
        raise UserError(
            f'the annotations have {len(images):,} photos of the COCO subset, not {photos:,}; '
            'take instances_val2017.json as COCO gives it.'
        )
    return sorted(images, key=lambda each: each['id'])


def shrunk(size: Size) -> Size:
    """An image's new size; small ones stay."""
    scale = min(1, SIDE / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def described(image: dict[str, Any], old: Size, new: Size) -> dict[str, Any]:
    """An entry of ``images``."""
    size = dict(width=new[0], height=new[1], orig_width=old[0], orig_height=old[1])
    kept = ('id', 'file_name', 'license', 'coco_url', 'flickr_url')
    return {**{key: image[key] for key in kept if key in image}, **size}


def part_of(coco: Coco, images: set[int], classes: set[str]) -> Coco:
    """Some images, with the boxes of some classes."""
    categories = [each for each in coco['categories'] if each['name'] in classes]
    ids = {each['id'] for each in categories}
    return {
        **coco,
        'images': [each for each in coco['images'] if each['id'] in images],
        'annotations': [
            each for each in coco['annotations'] if each['image_id'] in images and each['category_id'] in ids
        ],
        'categories': categories,
    }


def write(source: Path, folder: Path, others: set[int], photos: int = PHOTOS, validation: int = VALIDATION) -> None:
    """Write the whole folder or nothing."""
    with whole(folder) as draft:
        coco = read(source)
        boxes: dict[int, list[dict[str, Any]]] = {}
        for each in coco['annotations']:
            boxes.setdefault(each['image_id'], []).append(each)
        images, annotations = [], []
        (draft / 'images').mkdir()
        for image in chosen(coco, others, photos):
            number, name = image['id'], image['file_name']
            old, new = save_smaller(source / 'val2017' / name, draft / 'images' / name, shrunk, QUALITY)
            images.append(described(image, old, new))
            own = boxes.get(number, [])
            annotations += [annotation(number, each['category_id'], each['bbox'], old, new) for each in own]
        numbered = [dict(id=number, **each) for number, each in enumerate(annotations, 1)]
        info = dict(description="A subset of COCO val2017, shrunk, without crowd regions; the area is the box's")
        subset = {**coco, 'info': info, 'images': images, 'annotations': numbered}
        order = shuffled([image['id'] for image in images])
        for part, ids in dict(train=order[validation:], val=order[:validation]).items():
            for kind, classes in dict(
                instances={each['name'] for each in coco['categories']}, person={'person'}
            ).items():
                write_json(draft / 'annotations' / f'{kind}_{part}.json', part_of(subset, set(ids), classes))


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='the folder with val2017 and annotations')
    parser.add_argument('folder', nargs='?', type=Path, default=Path('data/coco_subset'), help='[data/coco_subset]')
    args = parser.parse_args()
    write(args.source, args.folder, set(map(int, OTHERS.split())))
    print(f'wrote {args.folder}: {PHOTOS - VALIDATION:,} images to learn from, {VALIDATION} to validate')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
