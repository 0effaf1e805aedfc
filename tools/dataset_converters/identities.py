#!/usr/bin/env python3
"""Write small stand-ins for face verification: some people to learn from, and pairs of others, who are never seen.

    tools/dataset_converters/identities.py olivetti data/olivetti.npz data/olivetti
    tools/dataset_converters/identities.py cifar100 data/cifar100.npz data/cifar100_identities

The first are the Olivetti faces (credit: AT&T Laboratories Cambridge), an .npz with `faces` (400, 64, 64) and
`person`: people 0 to 29 to learn from, 30 to 39 to verify. Of CIFAR-100 (`train_x`, `train_y`, `test_x`, `test_y`) it
takes classes as people: 80 to learn from, the test images of 20 others to verify.

It writes PNG images; train.txt (for mmkd.FaceList); pairs.txt, as many pairs of one person as of two, in ten folds
(for mmkd.FacePairs); and test.txt, all images of those people (for mmkd.FaceIdentities).
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from itertools import combinations
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a checkout needs no installation

try:
    import cv2
    import numpy as np
    from detection_set import whole

    from mmkd.errors import UserError, in_one_line
except ImportError as error:
    sys.exit(f'error: {error}')

FOLDS = 10
Photos = list[tuple[np.ndarray, int]]  # image, person


def olivetti(arrays: dict[str, np.ndarray]) -> tuple[Photos, Photos]:
    """The people to learn from, and the people to verify."""
    photos = list(zip(arrays['faces'], arrays['person'].tolist()))
    return [photo for photo in photos if photo[1] < 30], [photo for photo in photos if photo[1] >= 30]


def cifar100(arrays: dict[str, np.ndarray]) -> tuple[Photos, Photos]:
    """Verify every fifth class, so that both parts have all kinds of things."""
    train, test = (
        [(image[..., ::-1], label) for image, label in zip(arrays[f'{split}_x'], arrays[f'{split}_y'].tolist())]
        for split in ('train', 'test')
    )
    return [photo for photo in train if photo[1] % 5], [photo for photo in test if photo[1] % 5 == 0]


KINDS = dict(olivetti=(olivetti, 45), cifar100=(cifar100, 300))  # and pairs of each kind in a fold


def named(photos: Photos) -> dict[int, list[tuple[str, np.ndarray]]]:
    """The images by person, each with its place below the folder, named as in LFW."""
    people: dict[int, list[tuple[str, np.ndarray]]] = {}
    for image, person in photos:
        its = people.setdefault(person, [])
        its.append((f'p{person:02d}/p{person:02d}_{len(its) + 1:04d}.png', image))
    return people


def pairs(people: dict[int, list], each: int) -> list[str]:
    """LFW's list; each fold has its own people."""
    random = np.random.RandomState(0)
    lines = [f'{FOLDS}\t{each}']
    for own in np.array_split(sorted(people), FOLDS):
        same = [(person, a, b) for person in own.tolist() for a, b in combinations(range(len(people[person])), 2)]
        chosen = [same[place] for place in sorted(random.permutation(len(same))[:each])]
        lines += [f'p{person:02d}\t{a + 1}\t{b + 1}' for person, a, b in chosen]
        seen: set[tuple[int, int, int, int]] = set()
        while len(seen) < each:
            one, other = int(random.choice(own)), int(random.choice(sorted(people)))
            if one != other:
                seen.add((one, random.randint(len(people[one])), other, random.randint(len(people[other]))))
        lines += [f'p{one:02d}\t{a + 1}\tp{other:02d}\t{b + 1}' for one, a, other, b in sorted(seen)]
    return lines


def write(folder: Path, train: Photos, verify: Photos, each: int) -> None:
    """Write the whole folder or nothing."""
    with whole(folder) as draft:
        lists = {}
        for name, photos in dict(train=named(train), test=named(verify)).items():
            lines = []
            for label, person in enumerate(sorted(photos)):
                for place, image in photos[person]:
                    path = draft / name / place
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), image)
                    lines.append(f'{place} {label}')
            lists[name] = lines
        lists['pairs'] = pairs(named(verify), each)
        for name, lines in lists.items():
            (draft / f'{name}.txt').write_text('\n'.join(lines) + '\n')


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('source', type=Path, help='the .npz file')
    parser.add_argument('folder', type=Path, help='where to write')
    args = parser.parse_args()
    get = f'python tools/dataset_converters/download_npz.py {args.kind}'
    if not args.source.is_file():
        raise UserError(f'{args.source} does not exist; get it with: {get}')
    split, each = KINDS[args.kind]
    try:
        with np.load(args.source, allow_pickle=False) as arrays:
            train, verify = split(dict(arrays))
    except Exception as error:  # a damaged or foreign file may raise anything
        raise UserError(
            f'{args.source} is damaged or does not hold the arrays that are needed ({in_one_line(error)}); get it '
            f'again with: {get}'
        ) from error
    write(args.folder, train, verify, each)
    print(f'wrote {args.folder}: {len(train):,} images to learn from, {len(verify):,} to verify')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
