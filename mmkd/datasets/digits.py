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


def places_per_class(labels: np.ndarray, per_class: tuple[int, int | None]) -> np.ndarray:
    """Places of the images from which to before which of each class, sorted.

    They are shuffled before, since digits of one writer stand together.
    """
    if not isinstance(per_class, tuple | list) or len(per_class) != 2:
        raise UserError(
            f'Digits: per_class must be two numbers, as (0, 5) for five of each class or (5, None) for the others, '
            f'not {per_class!r}.'
        )
    shuffled = np.random.RandomState(0).permutation(len(labels))
    return np.sort(np.concatenate([shuffled[labels[shuffled] == label][slice(*per_class)] for label in range(10)]))


@DATASETS.register_module()
class Digits(ArrayDataset):
    """1,437 training and 360 test images of handwritten digits, 8x8 pixels, three equal channels.

    Args:
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        per_class (tuple[int, int | None], optional): Which images of each class, from which to before
            which, in an order that is shuffled but always the same: ``(0, 5)`` are five of each class,
            ``(5, None)`` all others. Defaults to all.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(self, split: str = 'train', per_class: tuple[int, int | None] | None = None, **kwargs):
        self.per_class = per_class
        super().__init__(split=split, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Images, labels and class names of the split."""
        images, labels = load_digits(self.split)
        if self.per_class is not None:
            chosen = places_per_class(labels, self.per_class)
            images, labels = images[chosen], labels[chosen]
        return np.repeat(images[..., None], 3, axis=-1), labels, tuple('0123456789')
