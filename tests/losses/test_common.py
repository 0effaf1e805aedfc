import torch

from mmkd.losses.common import times


def test_a_weight_of_one_is_no_operation():
    loss = torch.ones((), requires_grad=True)
    assert times(1.0, loss) is loss
    assert times(0.5, loss).item() == 0.5
    assert times(0, loss).item() == 0
