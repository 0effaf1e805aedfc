import pytest
import torch
from torch import nn

from mmkd.acceleration import cpu_amp, instructions


def built() -> cpu_amp.CPUAmpOptimWrapper:
    return cpu_amp.CPUAmpOptimWrapper(torch.optim.SGD(nn.Linear(2, 3).parameters(), lr=0.1), accumulative_counts=2)


def test_autocast_is_on_in_its_context_only():
    wrapper, network = built(), nn.Linear(2, 3)
    wrapper.initialize_count_status(network, 0, 4)
    with wrapper.optim_context(network):
        assert network(torch.ones(1, 2)).dtype == torch.bfloat16
    assert network(torch.ones(1, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ('found', 'warns'),
    [
        (dict(architecture='x86_64', avx512_bf16=True, amx_bf16=True), False),
        (dict(architecture='x86_64', avx512_bf16=True, amx_bf16=False), False),
        (dict(architecture='x86_64', avx512_f=True), True),
        (dict(architecture='arm64', bf16=True), False),
        (None, False),  # older versions of torch cannot tell
    ],
)
def test_a_processor_on_which_it_does_not_pay_is_told_once(found, warns, monkeypatch):
    said = []
    monkeypatch.setattr(instructions, 'print_log', lambda text, **_: said.append(text))
    if found is None:
        monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    else:
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found, raising=False)
    cpu_amp._warn_once.cache_clear()
    for _ in range(2):
        built()
    cpu_amp._warn_once.cache_clear()
    assert len(said) == warns
    start = 'optim_wrapper (--amp-dtype bfloat16): this processor has none of the instructions with which bfloat16 pays'
    assert all(text.startswith(f'{start} (amx_bf16, ') for text in said)
