"""A one-stage and a two-stage detector train and validate on the device."""

import math

import pytest

from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)

WHOLE = dict(stages=['all'], lengths=[6])
CASES = {
    'SSKD': dict(),
    'KD': dict(model=dict(type='mmkd.KD'), hook=WHOLE),
    'MHKD': dict(model=dict(type='mmkd.MHKD'), hook=WHOLE),
    'SSKD, frozen_dtype, channels_last': dict(model=dict(frozen_dtype='bfloat16', channels_last=True)),
}
HALF = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9), type='AmpOptimWrapper')
ONLY_CUDA = {
    'SSKD, float16': dict(optim_wrapper=dict(**HALF, dtype='float16', loss_scale='dynamic')),
    'KD, bfloat16': dict(
        model=dict(type='mmkd.KD'), hook=WHOLE, optim_wrapper=dict(**HALF, dtype='bfloat16', loss_scale=1.0)
    ),
}


@pytest.mark.parametrize('case', [*CASES, *(pytest.param(case, marks=pytest.mark.only_cuda) for case in ONLY_CUDA)])
def test_every_way_to_train(distil, train, kind, tmp_path, case):  # noqa: F811
    runner = distil(tmp_path / 'run', **{**CASES, **ONLY_CUDA}[case])
    losses = train(runner)
    assert len(losses) == 18
    finite = [math.isfinite(loss) for _, loss in losses]
    assert all(finite) or 'float16' in case
    assert (tmp_path / 'run' / 'epoch_6.pth').is_file()
