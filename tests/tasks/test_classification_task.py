from types import SimpleNamespace

import pytest
import torch

from mmkd.errors import UserError
from mmkd.tasks.classification import Classification


@pytest.mark.parametrize('head', ['MultiLabelLinearClsHead', 'ConformerHead'])
def test_heads_that_choose_no_class_are_refused(head):
    heads = pytest.importorskip('mmpretrain.models').heads
    network = torch.nn.Module()
    channels = dict(in_channels=[4, 4]) if head == 'ConformerHead' else dict(in_channels=4)
    network.head = getattr(heads, head)(num_classes=3, **channels)
    network.forward = lambda inputs, mode: network.head(([inputs, inputs],))
    teacher = SimpleNamespace(network=network, pad=lambda inputs: SimpleNamespace(inputs=inputs))
    task = Classification(network, teacher)
    with pytest.raises(UserError, match=rf'model\.student: a {head} does not choose|its {head} puts out several'):
        task.check(torch.zeros(2, 4), torch.zeros(2, 4), own_scores=True)
