"""Labelled images held as one array."""

import zipfile
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from mmkd.errors import UserError, did_you_mean
from mmkd.registry import DATASETS


@DATASETS.register_module()
class ArrayDataset(BaseDataset):
    """Images and labels from an ``.npz`` file, for mmpretrain's pipelines.

    The file holds ``{split}_x``, uint8 images of shape ``(N, H, W)`` or ``(N, H, W, C)``, and
    ``{split}_y``, N integer labels; ``class_names`` is optional. The images stay one array; each
    sample gets a copy of its own, as ``img`` next to ``gt_label``.

    Args:
        ann_file (str): The ``.npz`` file, below ``data_root`` if that is given.
        split (str): Which part of the file to read. Defaults to ``'train'``.
        per_class (tuple[int, int | None], optional): Which images of each class, from which to before which, in an
            order that is shuffled but always the same: ``(0, 5)`` are five of each class, ``(5, None)`` all others.
            Defaults to all.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``indices``, ``metainfo``, ...).

    Example:
        >>> dict(type='mmkd.ArrayDataset', ann_file='data/cifar100.npz', split='test', pipeline=[...])
    """

    def __init__(
        self,
        ann_file: str = '',
        split: str = 'train',
        per_class: tuple[int, int | None] | None = None,
        **kwargs,
    ):
        self.split = split
        self.per_class = per_class
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load the arrays; a sample is an index into them and a label."""
        self.images, labels, class_names = self.load_arrays()
        where = f'{type(self).__name__} {self.ann_file}'.strip()
        if self.images.dtype != np.uint8 or self.images.ndim not in (3, 4):
            raise UserError(
                f'{where}: {self.split}_x must be uint8 images of shape (N, H, W) or (N, H, W, C), '
                f'not {self.images.dtype} of shape {self.images.shape}.'
            )
        if labels.shape != self.images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise UserError(
                f'{where}: {self.split}_y must be {len(self.images)} integer labels, one an image, '
                f'not {labels.dtype} of shape {labels.shape}.'
            )
        if self.per_class is not None:
            chosen = places_per_class(labels, self.per_class, type(self).__name__)
            self.images, labels = self.images[chosen], labels[chosen]
        self._metainfo.setdefault('classes', class_names)
        return [dict(img_index=i, gt_label=int(label)) for i, label in enumerate(labels)]

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Images, labels and class names of the split."""
        keys = f'{self.split}_x', f'{self.split}_y'
        path = Path(self.ann_file).expanduser()
        if not path.is_file():
            raise UserError(
                f'ArrayDataset: ann_file {path} does not exist; '
                "create it or set the data set's ann_file to where it is."
            )
        try:
            with np.load(path, allow_pickle=False) as arrays:
                missing = [key for key in keys if key not in arrays]
                if missing:
                    raise UserError(
                        f'ArrayDataset: {path} has no {" and no ".join(missing)}, only '
                        f'{", ".join(arrays.files)}.{did_you_mean(keys[0], arrays.files)}'
                    )
                images, labels = (arrays[key] for key in keys)
                names = arrays['class_names'].tolist() if 'class_names' in arrays else range(labels.max() + 1)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
            raise UserError(
                f'ArrayDataset: {path} is damaged or no .npz file of plain arrays ({error}); create it again.'
            ) from error
        return images, labels, tuple(map(str, names))

    def get_data_info(self, idx: int) -> dict:
        """The sample with its image."""
        info = super().get_data_info(idx)
        info['img'] = self.images[info['img_index']].copy()
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """The sample's class, as mmengine's ClassBalancedDataset asks for it."""
        return [int(super().get_data_info(idx)['gt_label'])]


def places_per_class(labels: np.ndarray, per_class: tuple[int, int | None], where: str) -> np.ndarray:
    """Places of the images from which to before which of each class, sorted.

    They are shuffled before, since neighbours are often alike.
    """
    if not isinstance(per_class, tuple | list) or len(per_class) != 2:
        raise UserError(
            f'{where}: per_class must be two numbers, as (0, 5) for five of each class or (5, None) for the others, '
            f'not {per_class!r}.'
        )
    shuffled = np.random.RandomState(0).permutation(len(labels))
    classes = np.unique(labels)
    return np.sort(np.concatenate([shuffled[labels[shuffled] == label][slice(*per_class)] for label in classes]))
