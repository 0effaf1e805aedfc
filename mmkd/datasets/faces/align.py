"""Faces brought to where the network has learned to expect them."""

from collections.abc import Sequence

import cv2
import numpy as np

from mmkd.errors import UserError
from mmkd.registry import TRANSFORMS

TEMPLATE = (
    (38.2946, 51.6963),  # the eye on the left of the image
    (73.5318, 51.5014),  # that on the right
    (56.0252, 71.7366),  # the nose
    (41.5493, 92.3655),  # the corners of the mouth
    (70.7299, 92.2041),
)
"""Where five landmarks lie in an image of 112x112 pixels, as nearly all networks for faces learn it."""


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rotation, scaling and shift (2, 3) that brings points nearest to their targets, in the least squares."""
    x, y = points.T
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, right, down = np.linalg.lstsq(rows, targets.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, right], [b, a, down]])


class _Warp:
    """Replaces the image by a square part of it."""

    def __init__(self, size: int = 112):
        if type(size) is not int or size < 1:
            raise UserError(f'{type(self).__name__}: size must be a whole number of pixels, not {size!r}.')
        self.size = size

    def matrix(self, results: dict) -> np.ndarray:
        """From the image to the square."""
        raise NotImplementedError

    def __call__(self, results: dict) -> dict:
        """The sample with the image warped; what lies outside of it is black."""
        results['img'] = cv2.warpAffine(results['img'], self.matrix(results), (self.size, self.size))
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _needed(self, results: dict, key: str, shape: Sequence[int], cure: str) -> np.ndarray:
        value = np.asarray(results.get(key, np.nan), dtype=np.float64)
        if value.shape != tuple(shape) or not np.isfinite(value).all():
            where = results.get('img_path', f'sample {results.get("sample_idx", "")}'.strip())
            raise UserError(f'{type(self).__name__}: {where} has no {key}; {cure}')
        return value


@TRANSFORMS.register_module()
class AlignFace(_Warp):
    """Turns, scales and shifts a face so that its five landmarks lie where the network expects them.

    Needs ``img`` and ``landmarks``, (5, 2): the eyes, the nose and the corners of the mouth, each from left to right.

    Args:
        size (int): Pixels of a side. Defaults to 112.
    """

    def matrix(self, results: dict) -> np.ndarray:
        """By the least squares of the five distances."""
        cure = 'name them in the list (landmarks=...), align the images before, or leave AlignFace out of the pipeline.'
        points = self._needed(results, 'landmarks', (5, 2), cure)
        return similarity(points, np.array(TEMPLATE) * self.size / 112)


@TRANSFORMS.register_module()
class CropFace(_Warp):
    """Cuts out a square around a face's box.

    Needs ``img`` and ``face_box``: x, y, width, height.

    Args:
        size (int): Pixels of a side. Defaults to 112.
        margin (float): By how much of the box's longer side the square's is longer. Defaults to 0.2.
    """

    def __init__(self, size: int = 112, margin: float = 0.2):
        super().__init__(size)
        self.margin = margin

    def matrix(self, results: dict) -> np.ndarray:
        """The square's centre is the box's."""
        cure = 'take a data set that has it (IJBA), or leave CropFace out of the pipeline.'
        x, y, width, height = self._needed(results, 'face_box', (4,), cure)
        if min(width, height) <= 0:
            raise UserError(f'CropFace: the face_box of {results.get("img_path")} is empty: {width:g}x{height:g}.')
        scale = self.size / (max(width, height) * (1 + self.margin))
        # in pixels, whose centres are whole numbers
        shifts = [(self.size - 1) / 2 - scale * (begin + (side - 1) / 2) for begin, side in ((x, width), (y, height))]
        return np.array([[scale, 0, shifts[0]], [0, scale, shifts[1]]])
