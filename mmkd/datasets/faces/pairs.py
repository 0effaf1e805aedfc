"""Pairs of images: LFW's list, or all of a list of identities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmkd.datasets.faces.rows import ProtocolImages, lines_of, listed, points_of
from mmkd.errors import UserError
from mmkd.evaluation import Pairs, Protocol, all_pairs
from mmkd.registry import DATASETS

RATES = (1e-3, 1e-4)
MOST_IMAGES = 10_000  # with each other: 50 million pairs


@DATASETS.register_module()
class FacePairs(ProtocolImages):
    """Pairs by LFW's ``pairs.txt``.

    Its first line says how many folds there are and how many pairs of each kind a fold has. A line ``name 1 4`` is a
    pair of images of one person, ``name 1 other 2`` of two; an image is ``name/name_0001.jpg`` below ``data_prefix``.

    Args:
        ann_file (str): The list, below ``data_root`` if that is given.
        data_prefix (str | dict): The folder of the people's folders.
        suffix (str): How the images' names end. Defaults to ``'.jpg'``.
        landmarks (str, optional): A list of images and their landmarks, for :class:`mmkd.AlignFace`: a line each with
            the path below ``data_prefix`` and ten numbers. Defaults to None.
        rates (Sequence[float]): The FARs at which the TAR is given. Defaults to (1e-3, 1e-4).
        **kwargs: ``skip_missing``, and as in :class:`mmengine.dataset.BaseDataset`.

    Example:
        >>> dict(type='mmkd.FacePairs', data_root='data/lfw', ann_file='pairs.txt', data_prefix='aligned')
    """

    def __init__(
        self,
        ann_file: str,
        suffix: str = '.jpg',
        landmarks: str | None = None,
        rates: Sequence[float] = RATES,
        **kwargs,
    ):
        self.suffix, self.landmarks, self.rates = suffix, landmarks, rates
        super().__init__(ann_file=ann_file, **kwargs)

    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """Each image once, however many pairs it is in."""
        path = Path(self.ann_file).expanduser()
        lines = lines_of(path, "it is LFW's list of pairs")
        folds, each = self._header(path, lines[0])
        rows = [(number, words) for number, words in enumerate(lines[1:], 2) if words]
        if len(rows) != 2 * folds * each:
            raise UserError(
                f'FacePairs: {path} says {folds} folds of {each} and {each} pairs, which are {2 * folds * each:,}, and '
                f'lists {len(rows):,}; get the file again.'
            )
        pairs = [self._pair(path, number, words) for number, words in rows]
        names = sorted({name for a, b, _ in pairs for name in (a, b)})
        gone = dict(zip(names, self.missing(names, f'FacePairs: {path}')))
        index = {name: place for place, name in enumerate(name for name in names if not gone[name])}
        keep = np.array([not (gone[a] or gone[b]) for a, b, _ in pairs])
        self.say_skipped({'images': sum(gone.values()), f'of {len(pairs):,} pairs': int((~keep).sum())})
        first, second = np.array([(index.get(a, -1), index.get(b, -1)) for a, b, _ in pairs])[keep].T
        same = np.array([is_same for _, _, is_same in pairs])[keep]
        kept = [int(part.sum()) for part in np.array_split(keep, folds)]
        ends = tuple(np.cumsum(kept)[:-1].tolist())  # folds stay what they are where pairs are left out
        known = self._landmarks(list(index)) if self.landmarks else {}
        infos = [
            dict(img_path=str(self.folder / name), **(dict(landmarks=known[name]) if known else {})) for name in index
        ]
        return infos, Pairs(first, second, same, ends or 0, self.rates)

    def _landmarks(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Of each image."""
        path = self.root / str(self.landmarks)
        lines = enumerate(lines_of(path, 'list the images in it, a path and ten numbers a line'), 1)
        known = {
            ' '.join(words[:-10]): points_of(words[-10:], f'FacePairs: {path}, line {number}')
            for number, words in lines
            if words
        }
        if absent := [name for name in names if name not in known]:
            raise UserError(f'FacePairs: {path} has no landmarks of {absent[0]}; it must name all images of the pairs.')
        return known

    @staticmethod
    def _header(path: Path, words: list[str]) -> tuple[int, int]:
        if len(words) not in (1, 2) or not all(word.isdecimal() and int(word) for word in words):
            raise UserError(
                f"FacePairs: {path} begins with {' '.join(words)!r} and not with LFW's numbers of folds and of pairs, "
                'such as "10 300".'
            )
        return (int(words[0]), int(words[1])) if len(words) == 2 else (1, int(words[0]))

    def _pair(self, path: Path, number: int, words: list[str]) -> tuple[str, str, bool]:
        numbers = words[1::2] if len(words) == 4 else words[1:]
        if len(words) not in (3, 4) or not all(word.isdecimal() for word in numbers):
            raise UserError(
                f'FacePairs: {path}, line {number} is neither "name number number" nor "name number name number": '
                f'{" ".join(words)}'
            )
        people = words[::2] if len(words) == 4 else [words[0]] * 2
        for person in set(people):
            if not self.skip_missing and not (self.folder / person).is_dir():
                raise UserError(
                    f'FacePairs: {path}, line {number} names {person}, of whom {self.folder} has no folder; set '
                    'data_prefix to the folder of all people, or leave such pairs out with skip_missing=True.'
                )
        a, b = (f'{person}/{person}_{int(image):04d}{self.suffix}' for person, image in zip(people, numbers))
        return a, b, people[0] == people[1]


@DATASETS.register_module()
class FaceIdentities(ProtocolImages):
    """All pairs of the images of a list: a line each with the path and the label, as :class:`mmkd.FaceList` has it.

    Args:
        ann_file (str): The list, below ``data_root`` if that is given.
        data_prefix (str | dict): The folder of the images.
        landmarks (bool): Whether ten numbers stand behind the label, as for :class:`mmkd.FaceList`. Defaults to False.
        rates (Sequence[float]): The FARs at which the TAR is given. Defaults to (1e-3, 1e-4).
        **kwargs: ``skip_missing``, and as in :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(self, ann_file: str, landmarks: bool = False, rates: Sequence[float] = RATES, **kwargs):
        self.with_landmarks, self.rates = landmarks, rates
        super().__init__(ann_file=ann_file, **kwargs)

    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """The images that exist."""
        path = Path(self.ann_file).expanduser()
        rows = list(listed(path, 'FaceIdentities', self.with_landmarks))
        if not 2 <= len(rows) <= MOST_IMAGES:
            raise UserError(
                f'FaceIdentities: {path} lists {len(rows):,} images; each is compared with every other, so take 2 to '
                f'{MOST_IMAGES:,}, or a list of pairs (FacePairs).'
            )
        gone = self.missing([name for name, *_ in rows], f'FaceIdentities: {path}')
        self.say_skipped({'images': sum(gone)})
        kept = [row for row, is_gone in zip(rows, gone) if not is_gone]
        labels = np.unique([label for _, label, *_ in kept], return_inverse=True)[1]
        infos = [
            dict(img_path=str(self.folder / name), **({} if points is None else dict(landmarks=points)))
            for name, _, points, _ in kept
        ]
        return infos, all_pairs(labels, self.rates)
