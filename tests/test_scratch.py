import pytest
from torch import nn

from mmkd.errors import UserError
from mmkd.scratch import check_scratch

PRETRAINED = dict(type='Pretrained', checkpoint='weights.pth')


def student(init_cfg=None, own=None, **backbone) -> nn.Module:
    network, network.backbone = nn.Module(), nn.Module()
    network.init_cfg, network.backbone.init_cfg = own, init_cfg
    for key, value in backbone.items():
        setattr(network.backbone, key, value)
    return network


@pytest.mark.parametrize(
    ('network', 'cure'),
    [
        (student(norm_eval=True), 'set norm_eval=False, or name'),
        (student(frozen_stages=0), 'set frozen_stages=-1, or name'),
        (student(norm_eval=True, frozen_stages=1), 'set norm_eval=False and frozen_stages=-1, or name'),
        (student([dict(type='Kaiming')], norm_eval=True), 'set norm_eval=False, or name'),
    ],
)
def test_random_weights_that_stay(network, cure):
    with pytest.raises(UserError, match=cure):
        check_scratch(network)


@pytest.mark.parametrize(
    'network',
    [
        student(),
        student(norm_eval=False, frozen_stages=-1),
        student(PRETRAINED, norm_eval=True, frozen_stages=1),
        student([PRETRAINED], norm_eval=True),
        student(own=PRETRAINED, frozen_stages=1),
    ],
)
def test_what_can_learn(network):
    check_scratch(network)
