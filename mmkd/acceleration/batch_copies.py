"""Copies batches to the device without blocking the host."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor


def wait_for_no_copy(preprocessor: BaseDataPreprocessor) -> None:
    """Make a preprocessor copy to the device without waiting for the device's queued work.

    mmengine's waits by default, and mmpretrain's always does for labels. The copied values are the same.
    """
    preprocessor._non_blocking = True
    preprocessor.register_forward_pre_hook(_bring_labels)


def _bring_labels(preprocessor: Any, arguments: tuple) -> None:
    """Copy the labels or scores of a batch at once, so that mmpretrain finds them on the device."""
    samples = arguments[0].get('data_samples') if arguments and isinstance(arguments[0], dict) else None
    if preprocessor.device.type == 'cpu' or not samples:
        return
    for key in ('gt_label', 'gt_score'):
        values = [sample.get(key) for sample in samples if hasattr(sample, 'get')]
        if values and all(isinstance(value, torch.Tensor) and value.device.type == 'cpu' for value in values):
            there = torch.cat(values).to(preprocessor.device, non_blocking=True)
            for sample, value in zip(samples, there.split([len(value) for value in values])):
                sample.set_field(value, key, dtype=torch.Tensor)
