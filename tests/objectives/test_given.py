"""The inputs that losses get from a detector's samples."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch

from mmkd.losses import FGDLoss
from mmkd.objectives.given import given
from mmkd.objectives.objective import Step


@dataclass
class Boxes:
    """Masks as mmdet's newer pipelines store them."""

    tensor: torch.Tensor


def test_true_boxes_and_the_size_without_padding():
    one, two = torch.tensor([[1.0, 2, 20, 30]]), torch.zeros(0, 4)
    samples = [
        SimpleNamespace(img_shape=(60, 64, 3), gt_instances=SimpleNamespace(bboxes=Boxes(one))),
        SimpleNamespace(img_shape=(40, 64), gt_instances=SimpleNamespace(bboxes=two)),
    ]
    loss = FGDLoss()
    found = given(loss, SimpleNamespace(), Step(('all',), torch.zeros(2), samples))
    assert found['boxes'][0] is one
    assert found['boxes'][1] is two
    assert found['image_sizes'] == [(60, 64), (40, 64)]
    loss.build_for([(3, 8, 8)], [(3, 8, 8)])
    assert loss((torch.randn(2, 3, 8, 8),), (torch.randn(2, 3, 8, 8),), **found).isfinite()
