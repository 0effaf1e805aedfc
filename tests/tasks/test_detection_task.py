"""What a detector's task says of options that gain nothing."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmkd.tasks.detection import Detection


@pytest.mark.parametrize(
    ('network', 'told'),
    [
        (dict(bbox_head=SimpleNamespace(num_classes=3)), True),  # as blood cells
        (dict(roi_head=SimpleNamespace(bbox_head=nn.ModuleList([nn.Identity()]))), False),  # no class is known
        (dict(bbox_head=SimpleNamespace(num_classes=10)), False),  # as the digits, where they gain
    ],
)
def test_class_scores_of_few_classes_are_said_to_teach_little(monkeypatch, network, told):
    said = []
    monkeypatch.setattr('mmkd.tasks.detection.print_log', lambda text, **_: said.append(text))
    Detection(SimpleNamespace(**network), teacher=None).check_options(gamma=1.0)
    assert [text.partition(';')[0] for text in said] == [
        'Class scores alone gained nothing for a detector of 3 classes from scratch, features did'
    ] * told
