import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from torch import nn

from mmkd.acceleration.cpu_amp import CPUAmpOptimWrapper
from mmkd.cli import mixed_precision
from mmkd.cli.class_checks import check_own_parts
from mmkd.errors import UserError

AMP = 'AmpOptimWrapper', 'mmengine.AmpOptimWrapper', AmpOptimWrapper
BFLOAT16 = 'bfloat16', torch.bfloat16


def chosen(monkeypatch, device: str, **wrapper) -> dict:
    """The wrapper, once what it leaves open is chosen."""
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: device)
    cfg = Config(dict(optim_wrapper=wrapper))
    mixed_precision.choose_wrapper(cfg)
    return cfg.optim_wrapper.to_dict()


@pytest.mark.parametrize(
    ('own', 'scale'),
    [
        (dict(dtype='bfloat16'), dict(enabled=False)),  # otherwise fifty bad losses would pass
        (dict(dtype=torch.bfloat16), dict(enabled=False)),
        (dict(dtype='bfloat16', loss_scale=512.0), 512.0),
        (dict(dtype='float16'), 'dynamic'),
        (dict(loss_scale=256.0), 256.0),
        (dict(), 'dynamic'),
    ],
)
@pytest.mark.parametrize('kind', AMP)
def test_the_scale_of_a_loss_on_a_gpu(own, scale, kind, monkeypatch):
    assert chosen(monkeypatch, 'cuda', type=kind, **own) == {'type': kind, 'loss_scale': scale, **own}


@pytest.mark.parametrize('dtype', BFLOAT16)
@pytest.mark.parametrize('kind', AMP)
def test_bfloat16_without_a_gpu(kind, dtype, monkeypatch):
    own = dict(clip_grad=dict(max_norm=3), accumulative_counts=2)
    wrapper = chosen(monkeypatch, 'cpu', type=kind, dtype=dtype, loss_scale=512.0, use_fsdp=False, **own)
    assert wrapper == dict(type='mmkd.CPUAmpOptimWrapper', **own)


def test_what_mmengine_reads_before_the_wrapper_is_allowed(monkeypatch):
    own = dict(
        optimizer=dict(type='SGD', lr=0.1),
        constructor='DefaultOptimWrapperConstructor',
        paramwise_cfg=dict(bias_lr_mult=3.0),
    )
    wrapper = chosen(monkeypatch, 'cpu', type='AmpOptimWrapper', dtype='bfloat16', **own)
    check_own_parts(Config(dict(optim_wrapper=wrapper)))
    built = build_optim_wrapper(nn.Conv2d(1, 1, 1), wrapper)
    assert type(built) is CPUAmpOptimWrapper
    assert max(group['lr'] for group in built.param_groups) == pytest.approx(0.3)  # the bias's


@pytest.mark.parametrize(
    'wrapper', [dict(), dict(type='OptimWrapper'), dict(type=OptimWrapper), dict(type='ApexOptimWrapper')]
)
def test_other_wrappers_stay(wrapper, monkeypatch):
    assert chosen(monkeypatch, 'cpu', **wrapper) == wrapper
    mixed_precision.check_amp(Config(dict(optim_wrapper=wrapper)))


@pytest.mark.parametrize('dtype', [None, 'float16', torch.float16])
@pytest.mark.parametrize('kind', AMP)
def test_float16_without_a_gpu(kind, dtype, monkeypatch):
    cfg = Config(dict(optim_wrapper=chosen(monkeypatch, 'cpu', type=kind, dtype=dtype)))
    with pytest.raises(
        UserError, match=r'^optim_wrapper\.type: mixed precision \(--amp\) needs a GPU, .*--amp-dtype b'
    ):
        mixed_precision.check_amp(cfg)
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cuda')
    mixed_precision.check_amp(cfg)


@pytest.mark.parametrize('dtype', BFLOAT16)
@pytest.mark.parametrize('kind', AMP)
def test_a_gpu_without_bfloat16(kind, dtype, monkeypatch):
    monkeypatch.setattr(mixed_precision.torch.cuda, 'is_bf16_supported', lambda: False)
    cfg = Config(dict(optim_wrapper=chosen(monkeypatch, 'cuda', type=kind, dtype=dtype)))
    with pytest.raises(UserError, match=r'^optim_wrapper\.dtype: this GPU does not support bfloat16; use --amp-dtype'):
        mixed_precision.check_amp(cfg)
    cfg.optim_wrapper.dtype = 'float16'
    mixed_precision.check_amp(cfg)


@pytest.mark.parametrize('kind', ['mmkd.CPUAmpOptimWrapper', CPUAmpOptimWrapper])
def test_a_cpus_wrapper_is_for_cpus(kind, monkeypatch):
    cfg = Config(dict(optim_wrapper=chosen(monkeypatch, 'cpu', type=kind)))
    mixed_precision.check_amp(cfg)
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cuda')
    with pytest.raises(
        UserError, match=r"^optim_wrapper\.type: mmkd\.CPUAmpOptimWrapper is for CPUs; .*'AmpOptimWrapper'"
    ):
        mixed_precision.check_amp(cfg)
