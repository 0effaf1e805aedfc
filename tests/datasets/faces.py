"""Small face data sets in the layouts of the real ones."""

import csv
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np

SIDE = 20


def face(person: int, photo: int, side: int = SIDE) -> np.ndarray:
    """An image of a person; people differ in the place that is bright, photos in their noise."""
    ground = np.random.RandomState(person).randint(0, 256, (4, 4, 3)).astype(np.uint8)
    noise = np.random.RandomState([person, photo]).randint(0, 40, (side, side, 3))
    return (cv2.resize(ground, (side, side)).astype(int) * 5 // 6 + noise).clip(0, 255).astype(np.uint8)


def encoded(image: np.ndarray, suffix: str = '.jpg') -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, path.suffix))


def write_lfw(folder: Path, folds: int = 4, each: int = 3, people: int = 6) -> list[tuple]:
    """Write one folder per person, and pairs.txt; pairs are (image, image, same) with images as (person, photo)."""
    for person in range(people):
        for photo in range(1, 5):
            write(folder / 'images' / f'p{person}' / f'p{person}_{photo:04d}.jpg', face(person, photo))
    random = np.random.RandomState(0)
    lines, pairs = [f'{folds}\t{each}'], []
    for _ in range(folds):
        for _ in range(each):
            person, (a, b) = random.randint(people), sorted(random.choice(4, 2, replace=False) + 1)
            lines.append(f'p{person}\t{a}\t{b}')
            pairs.append(((person, a), (person, b), True))
        for _ in range(each):
            (one, other), a, b = random.choice(people, 2, replace=False), *(random.randint(1, 5, 2))
            lines.append(f'p{one}\t{a}\tp{other}\t{b}')
            pairs.append(((one, a), (other, b), False))
    (folder / 'pairs.txt').write_text('\n'.join(lines) + '\n')
    return pairs


def python2_pickle(images: list[bytes], same: list[bool]) -> bytes:
    """Write a list of str and one of bool in pickle protocol 2, as Python 2 does; strings are short or long bytes."""
    out = b'\x80\x02]q\x00('
    for place, image in enumerate(images, 1):
        out += b'T' + struct.pack('<i', len(image)) + image + b'r' + struct.pack('<I', place)
    out += b'e]r' + struct.pack('<I', len(images) + 1) + b'('
    out += b''.join(b'\x88' if one else b'\x89' for one in same)
    return out + b'e\x86r' + struct.pack('<I', len(images) + 2) + b'.'


def write_bin(path: Path, pairs: int = 12) -> list[bool]:
    same = [place % 2 == 0 for place in range(pairs)]
    images = []
    for place, is_same in enumerate(same):
        images += [encoded(face(place % 5, 1)), encoded(face(place % 5 if is_same else place % 5 + 5, 2))]
    path.write_bytes(python2_pickle(images, same))
    assert pickle.loads(path.read_bytes(), encoding='bytes') == (images, same)
    return same


def write_records(
    path: Path, labels: list[int], header: bool = True, vector: bool = False, cut: bool = True
) -> list[bytes]:
    """A .rec and .idx file as InsightFace packs them; images at odd places are of the labels in their order.

    Args:
        header: With record 0 and the records of identities.
        vector: Labels in a vector of two, behind a flag.
        cut: The magic number stands in the second image, where it is taken out, at a multiple of four bytes.
    """
    magic = struct.pack('<I', 0xCED7230A)
    images = [encoded(face(label, place), '.png') for place, label in enumerate(labels)]
    if cut:
        images[1] += bytes(-(24 + 8 * vector + len(images[1])) % 4) + magic + b'behind the image'
    contents = []
    if header:
        first = len(labels) + 1
        contents.append(struct.pack('<IfQQ2f', 2, 0, 0, 0, first, first + max(labels) + 1))
    for place, (label, image) in enumerate(zip(labels, images)):
        head = struct.pack('<IfQQ2f', 2, 0, place, 0, label, 7) if vector else struct.pack('<IfQQ', 0, label, place, 0)
        contents.append(head + image)
    if header:
        for person in range(max(labels) + 1):
            begin = labels.index(person) + 1
            contents.append(struct.pack('<IfQQ2f', 2, 0, 0, 0, begin, begin + labels.count(person)))
    places, out = [], b''
    for content in contents:
        places.append(len(out))
        parts = content.split(magic) if cut else [content]
        for number, part in enumerate(parts):
            kind = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
            out += magic + struct.pack('<I', kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    path.write_bytes(out)
    path.with_suffix('.idx').write_text(''.join(f'{key}\t{place}\n' for key, place in enumerate(places)))
    return images


IJBA_COLUMNS = ['TEMPLATE_ID', 'SUBJECT_ID', '{file}', 'MEDIA_ID', 'SIGHTING_ID', 'FRAME']
IJBA_COLUMNS += ['FACE_X', 'FACE_Y', 'FACE_WIDTH', 'FACE_HEIGHT']


def ijba_rows(templates: dict[int, list[tuple[int, int, int]]]) -> list[list]:
    """Write the images of a template's (person, photo, medium); photos from 10 on are frames. Faces lie at (4, 2)."""
    rows = []
    for template, photos in templates.items():
        for person, photo, medium in photos:
            kind = 'frame' if photo >= 10 else 'img'
            box = [4, 2, SIDE, SIDE]
            rows.append([template, person, f'{kind}/{person}_{photo}.png', medium, 0, 0, *box])
    return rows


def write_csv(path: Path, header: list[str] | None, rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as stream:
        csv.writer(stream).writerows([*([header] if header else []), *rows])


def write_ijba(folder: Path, splits: int = 2, people: int = 6) -> None:
    """Template 100 + p is in the gallery, 200 + p a probe, 300 + p for 1:1 only; some have frames, some one image."""
    for person in range(people):
        for photo in (1, 2, 3, 10, 11):
            canvas = np.zeros((SIDE + 8, SIDE + 8, 3), np.uint8)
            canvas[2 : 2 + SIDE, 4 : 4 + SIDE] = face(person, photo)
            write(folder / 'images' / ('frames' if photo >= 10 else 'img') / f'{person}_{photo}.png', canvas)
    for split in range(1, splits + 1):
        gallery = {100 + p: [(p, 1, 1), (p, 10, 5), (p, 11, 5)] for p in range(people - 2)}
        probes = {200 + p: [(p, 2, 2)] for p in range(people)}
        others = {300 + p: [(p, 3, 3), (p, split, 4)] for p in range(people)}
        names = [name.format(file='FILE' if split == 1 else 'FILENAME') for name in IJBA_COLUMNS]
        both = folder / 'IJB-A_11_sets' / f'split{split}', folder / 'IJB-A_1N_sets' / f'split{split}'
        write_csv(both[0] / f'train_{split}.csv', names, [])
        write_csv(
            both[0] / f'verify_metadata_{split}.csv',
            [*names, 'YAW'],
            [[*r, 0] for r in ijba_rows({**probes, **others})],
        )
        write_csv(both[0] / f'verify_comparisons_{split}.csv', None, [[a, b] for a in probes for b in others])
        write_csv(both[1] / f'search_gallery_{split}.csv', names, ijba_rows(gallery))
        write_csv(both[1] / f'search_probe_{split}.csv', names, ijba_rows(probes))


LANDMARKS = np.array([(6, 7), (13, 7), (10, 11), (7, 15), (13, 15)], float)


def write_ijbc(folder: Path, name: str = 'ijbc', people: int = 5) -> None:
    """Each person has a gallery template 10 + p (in G1 or G2; the last has none) and a probe 50 + p of two media."""
    letter = dict(ijbc='G', ijbb='S')[name]
    meta = folder / 'meta'
    meta.mkdir(parents=True)
    points, members = [], []
    for person in range(people):
        for photo in range(4):
            file = f'{4 * person + photo}.jpg'
            write(folder / 'loose_crop' / file, face(person, photo))
            numbers = ' '.join(f'{x:.1f}' for x in (LANDMARKS + photo).ravel())
            points.append(f'{file} {numbers} {0.5 + 0.1 * photo}')
            members.append(f'{file} {10 + person if photo == 0 else 50 + person} {min(photo, 2)}')
    (meta / f'{name}_name_5pts_score.txt').write_text('\n'.join(points) + '\n')
    (meta / f'{name}_face_tid_mid.txt').write_text('\n'.join(members) + '\n')
    pairs = [f'{10 + a} {50 + b} {int(a == b)}' for a in range(people) for b in range(people)]
    (meta / f'{name}_template_pair_label.txt').write_text('\n'.join(pairs) + '\n')
    header = ['TEMPLATE_ID', 'SUBJECT_ID', 'FILENAME']
    for gallery in (1, 2):
        rows = [[10 + p, p, 'x.jpg'] for p in range(people - 1) if p % 2 == gallery - 1]
        write_csv(meta / f'{name}_1N_gallery_{letter}{gallery}.csv', header, rows)
    write_csv(
        meta / f'{name}_1N_probe_mixed.csv', header, [[50 + p, p, f'{q}.jpg'] for p in range(people) for q in (1, 2)]
    )
