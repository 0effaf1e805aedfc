"""What the face data sets share."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmkd.errors import UserError
from mmkd.evaluation import Protocol


def decoded(data: bytes, where: str) -> np.ndarray:
    """The image (H, W, 3), in BGR as the toolboxes have it."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f'{where} is no image that OpenCV can read; get the file again.')
    return image


def lines_of(path: Path, what: str) -> list[list[str]]:
    """The words of each line that has any."""
    if not path.is_file():
        raise UserError(f'{path} does not exist; {what}.')
    try:
        lines = path.read_text().split('\n')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is no text; {what}.') from error
    return [line.split() for line in lines]


def listed(path: Path, kind: str, with_landmarks: bool) -> Iterator[tuple[str, str, np.ndarray | None, str]]:
    """The path, the label and the landmarks of each line of a list, and where it is.

    Args:
        path: The list.
        kind: The data set that reads it.
        with_landmarks: Whether ten numbers stand behind the label.
    """
    for number, words in enumerate(lines_of(path, 'list the images in it, a path and a label a line'), 1):
        where = f'{kind}: {path}, line {number}'
        if not words:
            continue
        own = words[:-10] if with_landmarks else words
        if len(own) < 2:
            behind = 'a label and ten numbers' if with_landmarks else 'a label'
            raise UserError(f'{where} is no path with {behind} behind it: {" ".join(words)}')
        yield ' '.join(own[:-1]), own[-1], points_of(words[-10:], where) if with_landmarks else None, where


def points_of(words: Sequence[str], where: str) -> np.ndarray:
    """Five landmarks (5, 2) from the ten numbers of a line."""
    try:
        points = np.array(words, np.float32).reshape(5, 2)
    except ValueError:
        points = np.array([np.nan])
    if not np.isfinite(points).all():
        raise UserError(
            f'{where} must end in ten numbers, x and y of both eyes, the nose and both corners of the mouth.'
        )
    return points


class Identities(BaseDataset):
    """Labelled faces to learn from, millions of them: their labels are one array.

    Args:
        ann_file (str): Where they are listed, below ``data_root`` if that is given.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``, ``metainfo``, ...).
    """

    labels: np.ndarray

    @abstractmethod
    def load_labels(self) -> np.ndarray:
        """The labels of all images, in their order."""

    @abstractmethod
    def image_of(self, row: int) -> dict:
        """What the pipeline gets of an image besides its label."""

    def full_init(self) -> None:
        """Load the labels, and keep those of ``indices``."""
        if getattr(self, '_fully_initialized', False):
            return
        labels = self.load_labels()
        rows = np.arange(len(labels))
        if self._indices is not None:
            rows = rows[: self._indices] if isinstance(self._indices, int) else rows[list(self._indices)]
        self.rows, self.labels = rows, labels[rows]
        if not len(rows):
            raise UserError(f'{type(self).__name__}: {self.ann_file} names no image.')
        if self.labels.min() < 0:
            raise UserError(f'{type(self).__name__}: {self.ann_file} has the label {self.labels.min()}; count from 0.')
        self._fully_initialized = True

    def __len__(self) -> int:
        self.full_init()
        return len(self.labels)

    def get_data_info(self, idx: int) -> dict:
        """A sample before the pipeline."""
        self.full_init()
        return dict(self.image_of(int(self.rows[idx])), gt_label=int(self.labels[idx]), sample_idx=idx % len(self))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Whose face it is, as mmengine's ClassBalancedDataset asks for it."""
        return [int(self.labels[idx])]


class ProtocolImages(BaseDataset):
    """All images of a protocol, each once; it hands the protocol to FaceMetric.

    Args:
        data_prefix (str | dict): The folder of the images, below ``data_root``.
        skip_missing (bool): Leave out images that do not exist, and say how much of the protocol is lost. Defaults to
            False: they are a mistake.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``ann_file``, ``data_root``, ``pipeline``, ...).
    """

    def __init__(self, data_prefix: str | dict = '', skip_missing: bool = False, **kwargs):
        self.skip_missing = skip_missing
        if kwargs.get('indices') is not None:
            raise UserError(f'{type(self).__name__}: indices would take a part of a protocol; leave it out.')
        prefix = dict(img_path=data_prefix) if isinstance(data_prefix, str) else data_prefix
        super().__init__(data_prefix=prefix, **kwargs)

    @abstractmethod
    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """The images, and what is done with their embeddings."""

    @property
    def folder(self) -> Path:
        """Of the images."""
        return Path(self.data_prefix['img_path']).expanduser()

    @property
    def root(self) -> Path:
        """Below which the protocol's files lie."""
        return Path(self.data_root or '.').expanduser()

    def load_data_list(self) -> list[dict]:
        """The images; the protocol is among the meta information."""
        images, self._metainfo['protocol'] = self.load_protocol()
        return images

    def get_cat_ids(self, idx: int) -> list[int]:
        """None: nobody is known by name."""
        return []

    def say_skipped(self, counts: dict[str, int]) -> None:
        """Log what was left out."""
        said = ', '.join(f'{number:,} {what}' for what, number in counts.items() if number)
        if said:
            print_log(f'{type(self).__name__} leaves out {said}, since images are missing.', 'current')

    def missing(self, names: Sequence[str], where: str) -> list[bool]:
        """Whether each image is missing; an error if any is, unless they are skipped."""
        gone = [not (self.folder / name).is_file() for name in names]
        if any(gone) and not self.skip_missing:
            first = names[gone.index(True)]
            raise UserError(
                f'{where} names images that are not in {self.folder}: {first}'
                f'{f" and {sum(gone) - 1:,} others" if sum(gone) > 1 else ""}; set data_prefix to their folder, or '
                'leave them out with skip_missing=True.'
            )
        return gone
