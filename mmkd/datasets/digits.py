"""scikit-learn's handwritten digits: real data that needs no download."""

import numpy as np

from mmkd.datasets.array import ArrayDataset
from mmkd.errors import UserError
from mmkd.registry import DATASETS

SPLITS = ('train', 'test')


def load_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Grey uint8 images of 8x8 pixels and their labels; every fifth image is a test image."""
    if split not in SPLITS:
        raise UserError(f'Digits: split must be one of {", ".join(SPLITS)}, not {split!r}.')
    try:
        from sklearn.datasets import load_digits as load_sklearn_digits
    except ImportError as error:
        raise UserError(
            'Digits: the images come with scikit-learn, which is not installed; run: pip install scikit-learn'
        ) from error
    bunch = load_sklearn_digits()
    is_test = np.arange(len(bunch.target)) % 5 == 0
    chosen = is_test if split == 'test' else ~is_test
    return np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8), bunch.target[chosen]


@DATASETS.register_module()
class Digits(ArrayDataset):
    """1,437 training and 360 test images of handwritten digits, 8x8 pixels, three equal channels.

    Args:
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: As in :class:`mmkd.datasets.array.ArrayDataset` (``per_class``, ``pipeline``, ...).
    """

    def __init__(self, split: str = 'train', **kwargs):
        super().__init__(split=split, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Images, labels and class names of the split."""
        images, labels = load_digits(self.split)
        return np.repeat(images[..., None], 3, axis=-1), labels, tuple('0123456789')
