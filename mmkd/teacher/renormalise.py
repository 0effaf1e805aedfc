"""Turns a batch normalised for the student into one normalised for the teacher."""

import torch
from torch import Tensor, nn


class Renormalise:
    """Turns images normalised for the student into images normalised by the teacher's own config.

    What pads them to the size of their batch gets the teacher's value. Where that is, mmdet's data samples tell;
    without them, what is padded is turned along with the rest. The batch keeps its size; see :meth:`Teacher.pad`.

    Args:
        student (nn.Module): The student's data preprocessor.
        teacher (nn.Module): The teacher's.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module):
        (mean, std), (new_mean, new_std) = _normalisation(student), _normalisation(teacher)
        self.swap = swaps_channels(student) != swaps_channels(teacher)
        if self.swap:
            mean, std = mean.flip(0), std.flip(0)
        self.scale, self.shift = std / new_std, (mean - new_mean) / new_std
        self.same = not self.swap and bool((self.scale == 1).all() and (self.shift == 0).all())
        self.pad_value = getattr(teacher, 'pad_value', 0)
        self.factors: dict[tuple, tuple[Tensor, Tensor]] = {}  # by device and dtype, copied there once
        self.same_padding = self.same and self.pad_value == getattr(student, 'pad_value', 0)

    def __call__(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        """The teacher's input; the same tensor if both normalise alike."""
        if self.same_padding:
            return inputs
        images = inputs
        if not self.same:
            images = inputs.flip(1) if self.swap else inputs
            scale, shift = self._factors(inputs)
            images = images * scale + shift
        sizes = [_size(sample, inputs) for sample in data_samples or ()]
        if all(size == inputs.shape[2:] for size in sizes):
            return images
        images = images.clone() if self.same else images
        for image, (height, width) in zip(images, sizes):
            image[:, height:] = self.pad_value
            image[:, :, width:] = self.pad_value
        return images

    def _factors(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        place = inputs.device, inputs.dtype
        if place not in self.factors:
            self.factors[place] = self.scale.to(inputs), self.shift.to(inputs)
        return self.factors[place]


def _size(sample, inputs: Tensor) -> tuple[int, int]:
    """Height and width of an image before padding; mmpretrain's samples do not hold them reliably."""
    height, width = sample.img_shape[:2] if 'batch_input_shape' in sample else inputs.shape[2:]
    return height, width


def _normalisation(preprocessor: nn.Module) -> tuple[Tensor, Tensor]:
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return preprocessor.get_buffer('mean').cpu(), preprocessor.get_buffer('std').cpu()


def swaps_channels(preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor turns BGR into RGB; mmpretrain and mmengine use different names."""
    return bool(getattr(preprocessor, 'to_rgb', False) or getattr(preprocessor, '_channel_conversion', False))
