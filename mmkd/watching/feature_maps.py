"""Pictures of what student and teacher see at the ends of their stages."""

from collections.abc import Iterator

import cv2
import numpy as np
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.features.capture import Feature
from mmkd.features.similarity import maps_of
from mmkd.registry import HOOKS
from mmkd.stages.plan import Stage
from mmkd.watching.hook import Look, WatchingHook

SMALLEST = 128  # pixels of the longer side of an image that is drawn


@HOOKS.register_module()
class FeatureMapsHook(WatchingHook):
    """Draws the features of both networks side by side, before the training and as often as the config validates.

    The picture ``features_<stage>`` has a row for each image: the image as the student sees it, then the mean over the
    channels of the student's feature and of the teacher's. A stage with several levels has a picture for each.

    Args:
        images (int): How many, evenly spread over the validation set. Defaults to 4.

    Example:
        >>> custom_hooks = [dict(type='mmkd.FeatureMapsHook')]
    """

    def __init__(self, images: int = 4):
        super().__init__(images)

    def show(self, runner: Runner, looks: Iterator[Look], step: int) -> None:
        """Draw a picture of each stage."""
        rows: dict[str, list[np.ndarray]] = {}
        for look in looks:
            shown = [_shown(image) for image in look.inputs]
            for (stage, partner), own, theirs in zip(self.pairs, look.own, look.theirs):
                for name, both in _levels(stage, own, partner, theirs).items():
                    rows.setdefault(name, []).extend(map(_row, shown, *both))
        for name, drawn in rows.items():
            runner.visualizer.add_image(f'features_{name}', _below_each_other(drawn), step=step)


def _levels(stage: Stage, own: Feature, partner: Stage, theirs: Feature) -> dict[str, tuple[Tensor, Tensor]]:
    """The maps of both, level by level, for as many levels as both have."""
    pairs = list(zip(maps_of(stage, own), maps_of(partner, theirs)))
    return {f'{stage.name}_{place}' if len(pairs) > 1 else stage.name: pair for place, pair in enumerate(pairs)}


def _shown(image: Tensor) -> np.ndarray:
    """A normalised image with values from 0 to 255, not too small."""
    image = image.float().cpu()
    image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
    array = (image * 255).byte().permute(1, 2, 0).numpy()
    larger = max(1, SMALLEST // max(array.shape[:2]))
    array = np.repeat(np.repeat(array, larger, axis=0), larger, axis=1)
    return array if array.shape[2] == 3 else np.repeat(array[:, :, :1], 3, axis=2)


def _row(image: np.ndarray, own: Tensor, theirs: Tensor) -> np.ndarray:
    return np.concatenate([image, _heat(image, own), _heat(image, theirs)], axis=1)


def _heat(image: np.ndarray, feature: Tensor) -> np.ndarray:
    mean = feature.float().cpu().mean(0)[None, None]
    return Visualizer.draw_featmap(F.interpolate(mean, size=image.shape[:2], mode='bilinear')[0], image)


def _below_each_other(rows: list[np.ndarray]) -> np.ndarray:
    """The rows in the width of the first: detectors' images differ in size."""
    width = rows[0].shape[1]
    return np.concatenate([cv2.resize(row, (width, row.shape[0] * width // row.shape[1])) for row in rows])
