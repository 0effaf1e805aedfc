"""Every stage of every backbone family learns behind frozen stages."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmkd.registry import MODELS
from tests.stage_networks import BACKBONES, config_of


@pytest.mark.parametrize('name', BACKBONES)
def test_every_stage_learns_behind_frozen_ones(name):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    model, side = config_of(name)
    teacher = dict(config=dict(model=model, default_scope='mmpretrain'), checkpoint=None)
    distiller = MODELS.build(dict(type='mmkd.SSKD', student=model, teacher=teacher))
    images = torch.rand(2, 3, side, side)
    distiller.train()
    distiller.prepare(images)
    phases = [(stage.name,) for stage in distiller.plan]
    distiller.build_extras(phases)
    distiller.speed_up(images)
    for (stage,) in phases[:-1]:
        distiller.enter((stage,))
        losses = distiller(images, mode='loss')
        sum(losses.values()).backward()
        learned = {n for n, parameter in distiller.student.named_parameters() if parameter.grad is not None}
        own = next(s for s in distiller.plan if s.name == stage)
        assert learned, stage
        assert learned <= set(own.parameters), stage
        assert all(torch.isfinite(p.grad).all() for p in distiller.student.parameters() if p.grad is not None)
        distiller.zero_grad()
