#!/usr/bin/env python3
"""Write BCCD, photos of blood cells, halved and in COCO format, as the configs for it read it.

    git clone https://github.com/Shenggan/BCCD_Dataset data/BCCD_Dataset
    tools/dataset_converters/bccd.py data/BCCD_Dataset/BCCD data/bccd320

The 364 photos are split at random, but always alike, into 291 to learn from and 73 to validate. Boxes without an
extent are left out; there are two.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a checkout needs no installation

try:
    from detection_set import Size, annotation, save_smaller, shuffled, whole, write_json

    from mmkd.errors import UserError, in_one_line
except ImportError as error:
    sys.exit(f'error: {error}')

GET = 'git clone https://github.com/Shenggan/BCCD_Dataset data/BCCD_Dataset'
CLASSES = ('RBC', 'WBC', 'Platelets')
PHOTOS, VALIDATION = 364, 73
QUALITY = 95  # of the JPEGs

Boxes = list[tuple[int, list[float]]]  # class from 1 on; x, y, width, height


def boxes_of(path: Path) -> Boxes:
    """The boxes in a file of Pascal VOC's format that have an extent."""
    boxes = []
    try:
        for thing in ElementTree.parse(path).getroot().iter('object'):
            category = CLASSES.index(thing.findtext('name', '')) + 1
            corners = [float(thing.findtext(f'bndbox/{side}', '')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
            left, top, right, bottom = corners
            if right > left and bottom > top:
                boxes.append((category, [left, top, right - left, bottom - top]))
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(
            f'{path} is damaged or has other objects than {", ".join(CLASSES)} ({in_one_line(error)}); get it again.'
        ) from error
    return boxes


def read(source: Path, photos: int) -> dict[str, Boxes]:
    """The boxes of each photo by its name."""
    folder = source / 'Annotations'
    for needed in (folder, source / 'JPEGImages'):
        if not needed.is_dir():
            raise UserError(f'folder {needed} does not exist; get the data with: {GET}')
    paths = sorted(folder.glob('*.xml'))
    if len(paths) != photos:
        raise UserError(f'{folder} has {len(paths)} .xml files, not {photos}; get the data again with: {GET}')
    return {path.stem: boxes_of(path) for path in paths}


def halved(size: Size) -> Size:
    """An image's new size."""
    return size[0] // 2, size[1] // 2


def write(source: Path, folder: Path, photos: int = PHOTOS, validation: int = VALIDATION) -> dict[str, int]:
    """Write the whole folder or nothing; return the number of images of each part."""
    with whole(folder) as draft:
        boxes = read(source, photos)
        order = shuffled(list(boxes))
        parts = dict(train=sorted(order[:-validation]), val=sorted(order[-validation:]))
        (draft / 'images').mkdir()
        for part, names in parts.items():
            images, annotations = [], []
            for image_id, name in enumerate(names):
                photo = source / 'JPEGImages' / f'{name}.jpg'
                old, new = save_smaller(photo, draft / 'images' / photo.name, halved, QUALITY)
                images.append(dict(id=image_id, file_name=photo.name, width=new[0], height=new[1]))
                annotations += [annotation(image_id, category, box, old, new) for category, box in boxes[name]]
            write_json(
                draft / f'{part}.json',
                dict(
                    images=images,
                    annotations=[dict(id=number, **each) for number, each in enumerate(annotations, 1)],
                    categories=[dict(id=number, name=name) for number, name in enumerate(CLASSES, 1)],
                ),
            )
    return {part: len(names) for part, names in parts.items()}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='the folder with Annotations and JPEGImages')
    parser.add_argument('folder', nargs='?', type=Path, default=Path('data/bccd320'), help='[data/bccd320]')
    args = parser.parse_args()
    parts = write(args.source, args.folder)
    print(f'wrote {args.folder}: {parts["train"]} images to learn from, {parts["val"]} to validate')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
