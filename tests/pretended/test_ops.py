"""The stand-ins for mmcv's compiled ops on a pretended GPU: results stay there, are the CPU's, and cost known waits."""

import pytest
import torch
from torch.utils._pytree import tree_flatten

pytest.importorskip('mmcv.ops')
from mmcv.ops import deform_conv2d, modulated_deform_conv2d, nms, nms_match, roi_align, sigmoid_focal_loss, soft_nms
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

from tests.pretended import pretend_cuda

BOXES = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 9, 9]])
SCORES = torch.tensor([0.9, 0.8, 0.7])
ROIS = torch.tensor([[0.0, 1, 1, 6, 7], [1, 0, 0, 8, 8]])
SHAPES, STARTS = torch.tensor([[4, 3], [2, 2]]), torch.tensor([0, 12])


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


MAPS, KERNEL, OFFSETS = drawn(2, 4, 8, 8), drawn(4, 4, 3, 3), drawn(2, 18, 8, 8)
CASES = {  # the op, its inputs; in forward and backward the waits and blocking copies
    'nms': (lambda *x: nms(*x, 0.5), [BOXES, SCORES], (1, 0)),
    'soft_nms': (lambda *x: soft_nms(*x, 0.5), [BOXES, SCORES], (2, 2)),  # mmcv computes on the host
    'nms_match': (lambda *x: nms_match(torch.cat([x[0], x[1][:, None]], 1), 0.5), [BOXES, SCORES], (1, 2)),
    'roi_align': (lambda *x: roi_align(*x, (2, 2), 1.0, 0, 'avg', True), [MAPS, ROIS], (0, 0)),
    'roi_align, maxima': (lambda *x: roi_align(*x, (2, 2), 1.0, 2, 'max', True), [MAPS, ROIS], (0, 0)),
    'deform_conv2d': (lambda *x: deform_conv2d(*x, 1, 1), [MAPS, OFFSETS, KERNEL], (0, 0)),
    'modulated_deform_conv2d': (
        lambda *x: modulated_deform_conv2d(*x, None, 1, 1),
        [MAPS, OFFSETS, drawn(2, 9, 8, 8), KERNEL],
        (0, 0),
    ),
    'sigmoid_focal_loss': (
        lambda *x: sigmoid_focal_loss(*x, 2.0, 0.25, None, 'none'),
        [drawn(4, 3), torch.tensor([0, 1, 2, 3])],
        (0, 0),
    ),
    'deformable attention': (
        lambda *x: MultiScaleDeformableAttnFunction.apply(x[0], x[1], x[2], *x[3:], 64),
        [drawn(2, 16, 4, 8), SHAPES, STARTS, drawn(2, 9, 4, 2, 3, 2), drawn(2, 9, 4, 2, 3)],
        (2, 0),
    ),
}


def results(op, inputs: list) -> list[torch.Tensor]:
    """What an op puts out, and the gradients of its inputs."""
    found = [x for x in tree_flatten(op(*inputs))[0] if isinstance(x, torch.Tensor)]
    learned = [x for x in inputs if x.requires_grad]
    return found + list(torch.autograd.grad(found[0].square().sum(), learned) if learned else ())


@pytest.mark.parametrize('name', CASES)
def test_ops(name):
    op, inputs, expected_counts = CASES[name]
    expected = results(op, inputs)
    with pretend_cuda() as gpu:
        there = [x.detach().to('cuda').requires_grad_(x.requires_grad) for x in inputs]
        gpu.reset()
        found = results(op, there)
        counted = gpu.waits.total(), gpu.blocking.total()
        assert {x.device.type for x in found} == {'cuda'}
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu(), other)
    assert counted == expected_counts, (gpu.waits, gpu.blocking)
