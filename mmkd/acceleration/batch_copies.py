"""Copies batches to the device without blocking the host, and normalises their images together."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

TAKE_BATCHES = ('ClsDataPreprocessor', 'DetDataPreprocessor', 'ImgDataPreprocessor')
"""Compute the same of a batch in one tensor as of a list of its images."""


def wait_for_no_copy(preprocessor: BaseDataPreprocessor) -> None:
    """Make a preprocessor copy to the device without waiting for the device's queued work.

    mmengine's waits by default, and mmpretrain's always does for labels. The copied values are the same. Images of one
    size are normalised together; in a list each of them would be by itself, in three operators or more. mmpretrain
    would write the labels back into their samples one by one, which it is spared.
    """
    preprocessor._non_blocking = True
    preprocessor.register_forward_pre_hook(_bring_labels)
    if type(preprocessor).__name__ in TAKE_BATCHES:
        preprocessor.register_forward_pre_hook(_stack_images)
    if type(preprocessor).__name__ == 'ClsDataPreprocessor':
        aside = _SamplesAside()
        preprocessor.register_forward_pre_hook(aside.take)
        preprocessor.register_forward_hook(aside.give_back)


def _stack_images(preprocessor: Any, arguments: tuple) -> tuple | None:
    """Replace a list of images by a batch if they have one size."""
    data: Any = arguments[0] if arguments else None
    images = data.get('inputs') if isinstance(data, dict) else None
    if not isinstance(images, list | tuple) or not images or not all(isinstance(image, Tensor) for image in images):
        return None
    if len({(image.shape, image.dtype) for image in images}) > 1 or images[0].ndim != 3:
        return None
    there = [image.to(preprocessor.device, non_blocking=True) for image in images]
    return {**data, 'inputs': torch.stack(there)}, *arguments[1:]


class _SamplesAside:
    """Keeps a batch's samples away from mmpretrain's preprocessor where it would only write their labels again.

    It makes one tensor of the labels, splits it and sets each part in its sample, which takes longer than a small
    network's iteration on a GPU. Scores, and labels on another device, are left to it.
    """

    def __init__(self) -> None:
        self.samples: Any = None

    def take(self, preprocessor: Any, arguments: tuple) -> tuple | None:
        """Before the forward."""
        self.samples = None
        data: Any = arguments[0] if arguments else None
        samples = data.get('data_samples') if isinstance(data, dict) else None
        if not samples or preprocessor.to_onehot:
            return None
        device = preprocessor.device.type
        if not all(_is_ready(sample, device) for sample in samples):
            return None
        self.samples = samples
        return {**data, 'data_samples': None}, *arguments[1:]

    def give_back(self, preprocessor: Any, arguments: tuple, output: dict) -> dict | None:
        """After the forward."""
        samples, self.samples = self.samples, None  # a copy of the preprocessor holds no batch
        return None if samples is None else {**output, 'data_samples': samples}


def _is_ready(sample: Any, device: str) -> bool:
    """Whether a sample has its label there, and no scores."""
    label = sample.get('gt_label')
    return isinstance(label, Tensor) and label.ndim == 1 and label.device.type == device and 'gt_score' not in sample


def _bring_labels(preprocessor: Any, arguments: tuple) -> None:
    """Copy the labels or scores of a batch together, so that mmpretrain finds them on the device."""
    samples = arguments[0].get('data_samples') if arguments and isinstance(arguments[0], dict) else None
    if preprocessor.device.type == 'cpu' or not samples:
        return
    for key in ('gt_label', 'gt_score'):
        values = [sample.get(key) for sample in samples if hasattr(sample, 'get')]
        if values and all(isinstance(value, torch.Tensor) and value.device.type == 'cpu' for value in values):
            there = torch.cat(values).to(preprocessor.device, non_blocking=True)
            for sample, value in zip(samples, there.split([len(value) for value in values])):
                sample.set_field(value, key, dtype=torch.Tensor)
