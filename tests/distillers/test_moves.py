"""Every move of a distiller's tensors also moves the teacher's."""

import pytest
import torch


def tensors_of(network) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


@pytest.mark.parametrize(
    'move',
    [
        lambda d: d.to('meta'),
        lambda d: d.cuda(),
        lambda d: d.cpu(),
        lambda d: d.half(),
        lambda d: d.double(),
        lambda d: d.to(torch.bfloat16),
        lambda d: d.to_empty(device='meta'),
    ],
    ids=['to', 'cuda', 'cpu', 'half', 'double', 'to dtype', 'to_empty'],
)
def test_the_teacher_comes_along(distil, monkeypatch, move):
    distiller = distil().model
    for name in ('cuda', 'cpu'):  # wherever this device is
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor.to('meta'))
    before = {(tensor.device.type, tensor.dtype) for tensor in distiller.student.parameters()}
    assert move(distiller) is distiller
    ((device, dtype),) = now = {(tensor.device.type, tensor.dtype) for tensor in distiller.student.parameters()}
    assert now != before
    theirs = tensors_of(distiller.teacher.network)
    assert len(theirs) > 60
    assert {tensor.device.type for tensor in theirs} == {device}
    assert {tensor.dtype for tensor in theirs if tensor.is_floating_point()} == {dtype}
    assert not any(tensor.requires_grad for tensor in theirs)
    assert not any(module.training for module in distiller.teacher.network.modules())
