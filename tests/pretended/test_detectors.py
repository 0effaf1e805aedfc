"""Detectors on a pretended GPU: all tensors lie on one device, and only mmdet's code waits for it."""

import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from tests.configs.test_detector_methods_train import CONFIGS, distillation
from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)
from tests.pretended.bounds import compare
from tests.pretended.trainings import by_flag, count_phases, short

NMS = 'mmkd/compat/mmcv_ops/nms.py'  # in place of mmcv's, which waits for the number of boxes that it keeps, too
WHOLE = dict(stages=['all'], lengths=[2])
KD, MHKD = (dict(model=dict(type=f'mmkd.{method}'), hook=WHOLE) for method in ('KD', 'MHKD'))
BFLOAT16, FLOAT16 = (by_flag(dtype, lr=0.01) for dtype in ('bfloat16', 'float16'))
CASES: dict[str, dict] = {
    'SSKD': dict(hook=dict(lengths=[1, 1, 1])),
    'KD': KD,
    'MHKD': MHKD,
    'SSKD, frozen_dtype, channels_last': dict(model=dict(frozen_dtype='bfloat16', channels_last=True)),
    'SSKD, --amp-dtype bfloat16': dict(optim_wrapper=BFLOAT16),
    'SSKD, --amp-dtype float16, clipped gradients, averaged weights': dict(
        optim_wrapper=dict(FLOAT16, clip_grad=dict(max_norm=10)), custom_hooks=[dict(type='EMAHook')]
    ),
    'KD, --amp-dtype bfloat16': dict(KD, optim_wrapper=BFLOAT16),
    'KD, frozen_dtype, --amp-dtype float16': dict(
        KD, model=dict(type='mmkd.KD', frozen_dtype='bfloat16'), optim_wrapper=FLOAT16
    ),
    'MHKD, --amp-dtype bfloat16': dict(MHKD, optim_wrapper=BFLOAT16),
    'MHKD, --amp-dtype float16': dict(MHKD, optim_wrapper=FLOAT16),
}
QUICK = {('SSKD', 'FasterRCNN'), *((case, 'RetinaNet') for case in CASES if case.startswith('SSKD'))}
QUICK_METHODS = ('ld_gfl', 'cross-kd_atss', 'fgd_retinanet')


def marked(is_quick: bool, *values: object):
    return pytest.param(*values, marks=() if is_quick else pytest.mark.long)


def check(case: str, phases: dict) -> None:
    """Only what mmdet waits for remains."""
    assert phases
    for phase, counted in phases.items():
        ours = {line for line in (*counted.waits, *counted.blocking) if line.startswith('mmkd/')}
        assert not {line for line in ours if not line.startswith(NMS)}, phase
        assert not any(line.startswith(NMS) for line in counted.blocking), phase
    compare(case, phases)


@pytest.mark.parametrize(
    ('kind', 'case'),
    [marked((case, name) in QUICK, name, case) for name in ('RetinaNet', 'FasterRCNN') for case in CASES],
    indirect=['kind'],
    scope='session',
)
def test_phases(distil, tmp_path, kind, case):  # noqa: F811
    changes = {'hook': dict(stages=['neck', 'head'], lengths=[1, 1]), **CASES[case]}
    sizes = {key: value for key, value in short(changes).items() if 'dataset' not in key}
    check(f'{case}, {kind}', count_phases(distil, work_dir=tmp_path, **{**sizes, **changes}))


@pytest.mark.parametrize(
    'path', [marked(path.stem.startswith(QUICK_METHODS), path) for path in CONFIGS], ids=lambda path: path.stem
)
def test_methods(few_digits, tmp_path, path):  # noqa: F811
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    cfg, _ = distillation(path, few_digits, tmp_path)
    cfg.train_cfg.max_iters = 3
    cfg.default_hooks.checkpoint, cfg.default_hooks.logger.interval = None, 100
    check(' '.join(path.stem.split('_')[:2]), count_phases(lambda: Runner.from_cfg(cfg)))
