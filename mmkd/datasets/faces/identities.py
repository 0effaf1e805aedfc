"""Faces to learn from: lists of images, and InsightFace's RecordIO files."""

from pathlib import Path

import numpy as np

from mmkd.datasets.faces.record_io import RecordFile
from mmkd.datasets.faces.rows import Identities, decoded, listed
from mmkd.errors import UserError
from mmkd.registry import DATASETS


@DATASETS.register_module()
class FaceList(Identities):
    """Images by a list: a line each with the path and the label, whole numbers from 0 on.

    The paths are below ``data_prefix``. They may hold spaces: the last word of a line is the label. ``img_path`` goes
    to the pipeline, which begins with ``LoadImageFromFile``.

    Args:
        ann_file (str): The list, below ``data_root`` if that is given.
        data_prefix (str | dict): The folder of the images.
        landmarks (bool): Whether ten numbers stand behind the label, x and y of five landmarks, which go to the
            pipeline for :class:`mmkd.AlignFace`. Defaults to False.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``, ``metainfo``, ...).

    Example:
        >>> dict(type='mmkd.FaceList', data_root='data/webface', ann_file='train.txt', data_prefix='images')
    """

    def __init__(self, ann_file: str, data_prefix: str | dict = '', landmarks: bool = False, **kwargs):
        self.with_landmarks = landmarks
        prefix = dict(img_path=data_prefix) if isinstance(data_prefix, str) else data_prefix
        super().__init__(ann_file=ann_file, data_prefix=prefix, **kwargs)

    def load_labels(self) -> np.ndarray:
        """The labels; the paths are kept as bytes, which are small."""
        names, labels, landmarks = [], [], []
        for name, label, points, where in listed(Path(self.ann_file).expanduser(), 'FaceList', self.with_landmarks):
            if not label.isdecimal():
                raise UserError(f'{where} is no path with a label from 0 on behind it: {name} {label}')
            names.append(name.encode())
            labels.append(int(label))
            landmarks += [] if points is None else [points]
        self.landmarks = np.array(landmarks)
        self.names = np.array(names)
        return np.array(labels)

    def image_of(self, row: int) -> dict:
        """The path, and the landmarks of a list that has them."""
        path = str(Path(self.data_prefix['img_path']).expanduser() / self.names[row].decode())
        return dict(img_path=path, landmarks=self.landmarks[row]) if self.with_landmarks else dict(img_path=path)


@DATASETS.register_module()
class FaceRecords(Identities):
    """Images in InsightFace's RecordIO: ``train.rec``, with ``train.idx`` beside it. mxnet is not needed.

    Only images count: the records of identities, which name the range of their images, are skipped. ``img`` goes to
    the pipeline, in BGR, so it begins behind the loading.

    Args:
        ann_file (str): The ``.rec`` file, below ``data_root`` if that is given.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``, ``metainfo``, ...).

    Example:
        >>> dict(type='mmkd.FaceRecords', ann_file='data/ms1m/train.rec', pipeline=[...])
    """

    def __init__(self, ann_file: str, **kwargs):
        super().__init__(ann_file=ann_file, **kwargs)

    def load_labels(self) -> np.ndarray:
        """One of each image."""
        self.file = RecordFile(Path(self.ann_file).expanduser())
        return self.file.labels()

    def image_of(self, row: int) -> dict:
        """The image itself."""
        image = decoded(self.file.image(row), f'{self.ann_file}, image {row}')
        return dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
