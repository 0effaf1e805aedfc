"""Looking at the first sample does not change the data set; tests/integration has bad samples."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmkd.errors import UserError
from mmkd.start_checks.first_batch import _apart, check_ground_truth


def test_transforms_are_copied_inside_wrappers_and_data_is_not():
    inner = SimpleNamespace(pipeline=[[]], data=[1])
    outer = SimpleNamespace(datasets=[SimpleNamespace(dataset=inner, pipeline=[[]]), inner])
    copied = _apart(outer)
    for dataset in (copied.datasets[0].dataset, copied.datasets[1]):
        dataset.pipeline[0].append('an image')
        assert dataset.data is inner.data
    copied.datasets[0].pipeline[0].append('an image')
    assert inner.pipeline == outer.datasets[0].pipeline == [[]]


def test_a_classifier_needs_labels():
    student = nn.ModuleDict(dict(head=nn.Identity()))
    check_ground_truth(student, [dict(gt_label=1)])
    with pytest.raises(UserError, match=r'train_dataloader\.dataset: .* images come without labels'):
        check_ground_truth(student, [dict(gt_label=1), dict()])
