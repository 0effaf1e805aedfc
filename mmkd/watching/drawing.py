"""A picture of features: a row for each image, a column for each network with a scale of its own."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

SIDE = 256  # pixels of an image's longer side, and of a column
HEAD, GAP = 40, 4  # pixels above the columns, and around images
WHITE, BLACK = 255, (0, 0, 0)


@dataclass
class FeaturePicture:
    """Images, and how strong the features of networks are there: the root mean square over the channels.

    All images of a network share a scale. It is the network's own, since widths and weights set how large features are.
    """

    titles: tuple[str, ...]
    images: list[np.ndarray] = field(default_factory=list)
    strengths: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def add(self, image: Tensor, covered: torch.Size, features: tuple[Tensor, ...]) -> None:
        """Add an image in RGB, with a map (channels, rows, columns) of each network.

        The maps belong to an area that the image was padded to, to the right and below; of these rows and columns.
        """
        size = image.shape[1:]
        shown = _as_bytes(image)
        self.images.append(cv2.resize(shown, _drawn(size), interpolation=cv2.INTER_NEAREST))
        self.strengths.append(tuple(_strength(feature, covered, size) for feature in features))

    def drawn(self) -> np.ndarray:
        """The picture in RGB."""
        scales = [(min(map(np.min, maps)), max(map(np.max, maps))) for maps in zip(*self.strengths)]
        heads = [_head(title, f'{low:.3g} (dark) to {high:.3g}') for title, (low, high) in zip(self.titles, scales)]
        rows = [_beside_each_other([_head('image', ''), *heads])]
        for image, maps in zip(self.images, self.strengths):
            rows.append(_beside_each_other([image, *(_coloured(one, *scale) for one, scale in zip(maps, scales))]))
        return np.concatenate(rows)


def _as_bytes(image: Tensor) -> np.ndarray:
    """An image in RGB with values from 0 to 255."""
    if image.dtype != torch.uint8:  # normalised already
        low, high = image.min(), image.max()
        image = ((image - low) / (high - low).clamp(min=1e-6) * 255).byte()
    array = image.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array if array.shape[2] == 3 else np.repeat(array[:, :, :1], 3, axis=2))


def _strength(feature: Tensor, covered: torch.Size, size: torch.Size) -> np.ndarray:
    """The strength at the places of an image, each as large as it is drawn."""
    strength = feature.float().square().mean(0).sqrt().nan_to_num(0, 0, 0)
    whole = F.interpolate(strength[None, None], size=tuple(covered), mode='nearest')[0, 0]
    return cv2.resize(whole[: size[0], : size[1]].cpu().numpy(), _drawn(size), interpolation=cv2.INTER_NEAREST)


def _drawn(size: torch.Size) -> tuple[int, int]:
    """Columns and rows of pixels."""
    rows, columns = (max(1, round(side * SIDE / max(size))) for side in size)
    return columns, rows


def _coloured(strength: np.ndarray, low: float, high: float) -> np.ndarray:
    part = (strength - low) / max(high - low, 1e-12)
    return cv2.applyColorMap((part * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[:, :, ::-1]


def _head(*lines: str) -> np.ndarray:
    head = np.full((HEAD - GAP, SIDE, 3), WHITE, np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(head, line, (0, 14 + 17 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, BLACK, 1, cv2.LINE_AA)
    return head


def _beside_each_other(cells: list[np.ndarray]) -> np.ndarray:
    """Cells on white, each as wide as a column."""
    row = np.full((cells[0].shape[0] + GAP, len(cells) * (SIDE + GAP), 3), WHITE, np.uint8)
    for column, cell in enumerate(cells):
        left = column * (SIDE + GAP)
        row[: cell.shape[0], left : left + cell.shape[1]] = cell
    return row
