"""The networks and sizes that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmkd.registry import DATASETS


@dataclass(frozen=True)
class Pair:
    """A student and its teacher.

    Args:
        config: Of SSKD, as it is shipped; the other methods take student and teacher from it.
        size: Side of the images.
        batch: Images in an iteration, on a CPU and on a GPU.
        classes: That the student tells apart.
        boxes: In an image, none for classifiers.
        heads: Options of MHKD's auxiliary heads, as in its shipped config.
    """

    config: str
    size: int
    batch: tuple[int, int]
    classes: int
    boxes: int = 0
    heads: dict | None = None


AT_224 = dict(type='mmkd.AuxiliaryHead', stride=2)
PAIRS = {
    'ResNet-34 -> ResNet-18': Pair(
        'mmkd::sskd/sskd_resnet34_resnet18_8xb32_in1k.py', 224, (8, 256), 1000, heads=AT_224
    ),
    'resnet32x4 -> resnet8x4': Pair('mmkd::sskd/sskd_resnet32x4_resnet8x4_cifar100.py', 32, (16, 256), 100),
    'Swin-S -> Swin-T': Pair('mmkd::sskd/sskd_swin-small_swin-tiny_16xb64_in1k.py', 224, (2, 64), 1000, heads=AT_224),
    'RetinaNet R-101 -> R-50': Pair('mmkd::sskd/sskd_retinanet_r101_r50_fpn_1x_coco.py', 256, (2, 16), 80, boxes=5),
    'RetinaNet R-50 -> R-18': Pair('mmkd::sskd/sskd_retinanet_r50_r18_fpn_1x_coco.py', 256, (2, 16), 80, boxes=5),
}


@DATASETS.register_module(force=True)  # tests import this file several times
class RandomImages(Dataset):
    """Random images with labels or boxes: the content of images does not change the time.

    Args:
        size: Side of the images.
        classes: Of labels and boxes.
        boxes: In an image, none for classifiers.
    """

    def __init__(self, size: int, classes: int, boxes: int = 0):
        self.size, self.classes, self.boxes = size, classes, boxes
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return 50_000

    def __getitem__(self, index: int) -> dict:
        draw = torch.Generator().manual_seed(index)
        image = torch.randint(256, (3, self.size, self.size), generator=draw, dtype=torch.uint8)
        return dict(inputs=image, data_samples=self._boxes(draw) if self.boxes else self._label(draw, index))

    def _label(self, draw: torch.Generator, index: int):
        from mmpretrain.structures import DataSample

        label = torch.randint(self.classes, (1,), generator=draw)
        return DataSample(metainfo=dict(sample_idx=index)).set_gt_label(label)

    def _boxes(self, draw: torch.Generator):
        from mmdet.structures import DetDataSample

        corners = torch.rand(self.boxes, 2, generator=draw) * self.size / 2
        sides = self.size * (0.1 + 0.4 * torch.rand(self.boxes, 2, generator=draw))
        shape: Sequence[int] = (self.size, self.size)
        sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
        labels = torch.randint(self.classes, (self.boxes,), generator=draw)
        sample.gt_instances = InstanceData(bboxes=torch.cat([corners, corners + sides], 1), labels=labels)
        return sample
