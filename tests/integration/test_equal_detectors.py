"""A teacher that is only deeper, as an R-101 for an R-50: the student starts with its neck and head."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from tests.distil_detectors import retinanet


@pytest.fixture(scope='session')
def deeper(tmp_path_factory) -> dict:
    """Build a teacher with the student's widths."""
    init_default_scope('mmdet')
    model = retinanet(8)
    model.backbone.depth = 34
    torch.manual_seed(2)
    network = MODELS.build(copy.deepcopy(model))
    network.init_weights()
    path = tmp_path_factory.mktemp('deeper') / 'teacher.pth'
    torch.save(network.state_dict(), path)
    return dict(config=dict(model=model.to_dict(), default_scope='mmdet'), checkpoint=str(path))


@pytest.mark.parametrize('kind', ['RetinaNet'], indirect=True, scope='session')
def test_neck_and_head_start_from_the_teacher(distil, deeper, tmp_path):
    theirs = torch.load(deeper['checkpoint'])
    hook = dict(stages=['layer2', 'neck', 'head'], lengths=[1, 1, 1])
    runner = distil(
        tmp_path / 'run', hook, dict(teacher=deeper), train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=9)
    )
    runner.train()
    saved = [torch.load(tmp_path / 'run' / f'epoch_{i}.pth', weights_only=False)['state_dict'] for i in (1, 2)]
    for name, value in theirs.items():
        if name.startswith('neck.'):  # unchanged until its own stage, which trains it
            assert torch.equal(saved[0][name], value), name
            assert not torch.equal(saved[1][name], value), name
        if name.startswith('bbox_head.'):  # after the neck's stage
            assert torch.equal(saved[1][name], value), name
    text = next((tmp_path / 'run').glob('*/*.log')).read_text()
    begins = text.index("The student's neck begins as the teacher's.")
    assert begins < text.index('Stage layer2 begins') < text.index("The student's head is now the teacher's.")
