"""Images held as one array on the device, augmented there a batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.data import get_worker_info

from mmkd.datasets.array import ArrayDataset
from mmkd.errors import UserError
from mmkd.registry import DATASETS
from mmkd.utils.signatures import bare_name


@DATASETS.register_module()
class ResidentArrayDataset(ArrayDataset):
    """As :class:`ArrayDataset`, for small networks that would wait for a pipeline that handles image by image.

    The whole data set lies on the device as one uint8 tensor. The steps of ``pipeline`` are the ordinary ones, but run
    a batch at a time: ``RandomCrop`` with its ``crop_size`` and ``padding``, a horizontal ``RandomFlip`` with its
    ``prob``, in this order and each at most once, and ``PackInputs`` last. What they draw comes from torch's global
    generator, so that a seeded run is reproducible. The data loader needs ``num_workers=0`` and ``pin_memory=False``.

    Args:
        ann_file (str): The ``.npz`` file, below ``data_root`` if that is given.
        split (str): Which part of the file to read. Defaults to ``'train'``.
        pipeline (Sequence[dict]): The steps.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``indices``, ``metainfo``, ...).

    Example:
        >>> dict(type='mmkd.ResidentArrayDataset', ann_file='data/cifar100.npz', split='train', pipeline=[...])
    """

    def __init__(self, ann_file: str = '', split: str = 'train', pipeline: Sequence[dict] = (), **kwargs):
        self.crop, self.padding, self.flip = _read(pipeline)
        super().__init__(ann_file=ann_file, split=split, pipeline=list(pipeline[-1:]), **kwargs)

    def full_init(self) -> None:
        """Bring the images of the chosen samples to the device."""
        if self._fully_initialized:
            return
        super().full_init()
        infos = [self.get_data_info(i) for i in range(len(self))]
        images = torch.from_numpy(np.stack([info['img'] for info in infos]))
        images = images if images.ndim == 4 else images[..., None]
        images = F.pad(images, (0, 0, *[self.padding] * 4))
        sides = self.crop or tuple(images.shape[1:3])
        if any(crop > side for crop, side in zip(sides, images.shape[1:3])):
            raise UserError(
                f'ResidentArrayDataset: RandomCrop.crop_size {self.crop} is larger than the images of '
                f'{tuple(images.shape[1:3])} pixels with their padding; make it smaller.'
            )
        self.resident = images.to(get_device())
        self.rows, self.columns = (torch.arange(side, device=self.resident.device) for side in sides)
        self.labels = [info['gt_label'] for info in infos]
        one = infos[0]['img']
        samples = {c: self.pipeline(dict(img=one, gt_label=c, sample_idx=0))['data_samples'] for c in set(self.labels)}
        self.packed = {c: sample.to(self.resident.device) for c, sample in samples.items()}

    def __getitem__(self, idx: int) -> dict:
        """One sample."""
        return self.__getitems__([idx])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """The samples of a batch, as torch's data loader asks for them."""
        if get_worker_info() is not None:
            raise UserError("ResidentArrayDataset: the images are on the device; set the data loader's num_workers=0.")
        self.full_init()
        return [
            dict(inputs=image, data_samples=self._sample(i))
            for i, image in zip(indices, self._augmented(torch.tensor(indices)))
        ]

    def _sample(self, i: int) -> BaseDataElement:
        """What is known of an image."""
        sample = self.packed[self.labels[i]].new()  # predictions are written into it
        if 'sample_idx' in sample:
            sample.set_field(i, 'sample_idx', field_type='metainfo')
        return sample

    def _augmented(self, indices: Tensor) -> Tensor:
        """The images (N, C, H, W), each cut out of its padded image and some of them mirrored."""
        if self.crop is None and not self.flip:  # a validation must draw nothing, or resumed runs would differ
            return self.resident[indices.to(self.resident.device)].permute(0, 3, 1, 2).contiguous()
        n = len(indices)
        height, width = len(self.rows), len(self.columns)
        draws = [
            indices,
            torch.randint(self.resident.shape[1] - height + 1, (n,)),
            torch.randint(self.resident.shape[2] - width + 1, (n,)),
            (torch.rand(n) < self.flip).long(),
        ]
        which, top, left, mirrored = torch.stack(draws).to(self.resident.device, non_blocking=True)[..., None]
        columns = torch.where(mirrored == 1, width - 1 - self.columns, self.columns)
        crops = self.resident[which[..., None], (top + self.rows)[..., None], (left + columns)[:, None]]
        return crops.permute(0, 3, 1, 2).contiguous()


def _read(pipeline: Sequence[dict]) -> tuple[tuple[int, int] | None, int, float]:
    """The crop's size, the padding before it and the probability of a flip, from the steps of a pipeline."""
    kinds = [bare_name(step['type']) for step in pipeline]
    steps = {kind: {key: value for key, value in step.items() if key != 'type'} for kind, step in zip(kinds, pipeline)}
    crop, flip = steps.get('RandomCrop', {}), steps.get('RandomFlip', {})
    size, padding, prob = crop.get('crop_size'), crop.get('padding') or 0, flip.get('prob', 0.0)
    if (
        kinds != [kind for kind in ('RandomCrop', 'RandomFlip', 'PackInputs') if kind in steps]
        or 'PackInputs' not in steps
        or not set(crop) <= {'crop_size', 'padding'}
        or not set(flip) <= {'prob', 'direction'}
        or flip.get('direction', 'horizontal') != 'horizontal'
        or not all(isinstance(number, int | float) for number in (padding, prob))
    ):
        raise UserError(
            'ResidentArrayDataset: pipeline must be RandomCrop (crop_size, padding), RandomFlip (prob, horizontal), '
            f'PackInputs, or PackInputs alone, not {pipeline}; use mmkd.ArrayDataset for other steps.'
        )
    return (size, size) if isinstance(size, int) else size and tuple(size), padding, prob
