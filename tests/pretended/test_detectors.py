"""Detectors on a pretended GPU: all tensors lie on one device, and only mmdet's code waits for it."""

import pytest

from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)
from tests.pretended.bounds import compare
from tests.pretended.trainings import count_phases

CHANGES = {
    'train_cfg.max_epochs': 6,
    'train_cfg.val_interval': 6,
    'default_hooks.checkpoint': None,
    'default_hooks.logger': dict(type='LoggerHook', interval=100),
}


NMS = 'mmkd/compat/mmcv_ops/nms.py'  # in place of mmcv's, which waits for the number of boxes that it keeps, too
WHOLE = dict(stages=['all'], lengths=[6])


@pytest.mark.parametrize('kind', ['RetinaNet', 'FasterRCNN'], indirect=True, scope='session')
@pytest.mark.parametrize(
    'method', ['SSKD', pytest.param('KD', marks=pytest.mark.long), pytest.param('MHKD', marks=pytest.mark.long)]
)
def test_phases(distil, tmp_path, kind, method):  # noqa: F811
    changes = CHANGES if method == 'SSKD' else dict(CHANGES, hook=WHOLE)
    phases = count_phases(distil, work_dir=tmp_path, model=dict(type=f'mmkd.{method}'), **changes)
    assert phases
    for phase, counted in phases.items():  # mmdet's own waits remain
        ours = {line for line in (*counted.waits, *counted.blocking) if line.startswith('mmkd/')}
        assert not {line for line in ours if not line.startswith(NMS)}, phase
        assert not any(line.startswith(NMS) for line in counted.blocking), phase
    compare(f'{method}, {kind}', phases)
