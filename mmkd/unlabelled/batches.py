"""Batches that join labelled and unlabelled images, and their losses."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mmkd.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Preprocessed images and their data samples."""

    inputs: Tensor
    data_samples: list | None


def joined(labelled: Batch, unlabelled: Batch, pad_value: float = 0) -> Batch:
    """All images as one batch; a detector's images are padded to the larger sides, as in any of its batches."""
    samples = [*(labelled.data_samples or ()), *(unlabelled.data_samples or ())]
    inputs = [labelled.inputs, unlabelled.inputs]
    own, other = (tuple(batch.shape[1:]) for batch in inputs)
    if own != other:
        is_padded = bool(samples) and all('batch_input_shape' in sample for sample in samples)  # mmdet reads this
        if own[0] != other[0] or not is_padded:
            raise UserError(
                f'unlabelled_dataloader.dataset.pipeline: its images have the shape {other}, those of train_dataloader '
                f'{own}, and they form one batch; resize or crop them to the same.'
            )
        height, width = (max(sides) for sides in zip(own[1:], other[1:]))
        inputs = [F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=pad_value) for x in inputs]
    known = labelled.data_samples is not None and unlabelled.data_samples is not None
    return Batch(torch.cat(inputs), samples if known else None)


def averaged(losses: dict, more: dict, images: int, more_images: int) -> dict:
    """The losses of a batch; terms that the unlabelled images share become means over all images."""
    share = more_images / (images + more_images)
    return {**losses, **{name: (1 - share) * losses[name] + share * value for name, value in more.items()}}
