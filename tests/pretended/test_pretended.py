"""What the pretended GPU refuses, computes and counts."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.pretended import pretend_cuda

HERE = 'tests/pretended/test_pretended.py'


@pytest.fixture
def gpu():
    with pretend_cuda() as gpu:
        yield gpu


def test_it_trains_as_the_cpu_does(gpu):
    torch.manual_seed(0)
    here = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    there = copy.deepcopy(here).to('cuda')
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])
    for network, where in ((here, 'cpu'), (there, 'cuda')):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            nn.functional.cross_entropy(network(images.to(where)), labels.to(where)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert {tensor.device.type for tensor in there.state_dict().values()} == {'cuda'}
    for name, tensor in there.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), here.state_dict()[name])


@pytest.mark.parametrize(
    'mix',
    [
        lambda here, there: here + there,
        lambda here, there: there @ here,
        lambda here, there: torch.cat([there, here]),
        lambda here, there: there.add_(here),
        lambda here, there: torch.where(there > 0, there, here),
        lambda here, there: nn.functional.linear(there, here),
        lambda here, there: nn.Linear(3, 3)(there),
        lambda here, there: here[there[0].long()],
        lambda here, there: there.__setitem__(there > 0, here[0]),
    ],
)
def test_two_devices_never_meet(gpu, mix):
    here = torch.ones(3, 3)
    with pytest.raises(RuntimeError, match='at least two devices, cuda:0 and cpu!'):
        mix(here, here.to('cuda'))


def test_numbers_and_copies_cross(gpu):
    here = torch.ones(3)
    there = here.to('cuda')
    assert (there * torch.tensor(2.0)).device.type == 'cuda'  # without dimensions, it is like a number
    assert there.copy_(here) is there
    assert here.copy_(there).device.type == 'cpu'
    assert there.new_zeros(2).device.type == torch.zeros(2, device='cuda').device.type == 'cuda'
    assert there.cpu().tolist() == there.tolist() == [1, 1, 1]


def test_what_needs_the_host_s_memory_is_refused(gpu):
    there = torch.ones(3).to('cuda')
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match='cannot pin'):
        there.pin_memory()
    with pytest.raises(RuntimeError, match='cannot pin'):
        next(iter(DataLoader([there], pin_memory=True)))


WAITS = {
    'item': lambda x: x[0].item(),
    'float': lambda x: float(x[0]),
    'bool': lambda x: bool(x[0]),
    'cpu': lambda x: x.cpu(),
    'tolist': lambda x: x.tolist(),
    'nonzero': lambda x: x.nonzero(),
    'mask': lambda x: x[x > 1],
    'unique': lambda x: x.unique(),
    'copy_': lambda x: torch.empty(3).copy_(x),
    'synchronize': lambda x: torch.cuda.synchronize(),
}
BLOCKING = {
    'to': lambda x: torch.ones(3).to('cuda'),
    'cuda': lambda x: torch.ones(3).cuda(),
    'tensor': lambda x: torch.tensor([1, 2], device='cuda'),
    'new_tensor': lambda x: x.new_tensor([1, 2]),
    'copy_': lambda x: x.copy_(torch.ones(3)),
    'index': lambda x: x[torch.tensor([0, 1])],
}
FREE = {
    'to, non_blocking': lambda x: torch.ones(3).to('cuda', non_blocking=True),
    'cuda, non_blocking': lambda x: torch.ones(3).cuda(non_blocking=True),
    'copy_, non_blocking': lambda x: x.copy_(torch.ones(3), non_blocking=True),
    'dtype': lambda x: x.to(torch.float64),
    'there already': lambda x: x.to('cuda'),
    'fill by a mask': lambda x: x.masked_fill_(x > 1, 0),
    'set by a mask': lambda x: x.__setitem__(x > 1, 0),
    'made there': lambda x: torch.zeros(3, device='cuda'),
}


@pytest.mark.parametrize('name', WAITS)
def test_waits_are_counted_by_line(gpu, name):
    x = torch.ones(3).to('cuda')
    gpu.reset()
    WAITS[name](x)
    assert gpu.waits.total() == 1
    (line,) = gpu.waits
    assert line.startswith(HERE)
    assert not gpu.blocking


@pytest.mark.parametrize('name', BLOCKING)
def test_blocking_copies_are_counted_by_line(gpu, name):
    x = torch.ones(3).to('cuda')
    gpu.reset()
    BLOCKING[name](x)
    assert gpu.blocking.total() == 1
    assert next(iter(gpu.blocking)).startswith(HERE)
    assert not gpu.waits


@pytest.mark.parametrize('name', FREE)
def test_what_waits_for_nothing_is_not_counted(gpu, name):
    x = torch.ones(3).to('cuda')
    gpu.reset()
    FREE[name](x)
    assert not gpu.waits
    assert not gpu.blocking


class Asks(torch.autograd.Function):
    """Reads numbers of the GPU in its backward pass, and copies one there."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * gradient.cpu().max().to(gradient.device)


@pytest.mark.parametrize('start', [lambda y, x: y.backward(), torch.autograd.grad])
def test_what_python_does_in_a_backward_pass_is_counted(gpu, start):
    x = torch.ones(3).to('cuda').requires_grad_()
    y = Asks.apply(x).sum()
    gpu.reset()
    start(y, x)
    assert (gpu.waits.total(), gpu.blocking.total()) == (1, 1)
    assert all(line.startswith(HERE) for line in (*gpu.waits, *gpu.blocking))


def test_launches_are_counted_but_for_views(gpu):
    x = torch.ones(3, 2).to('cuda').requires_grad_()
    gpu.reset()
    y = (x.t()[None].reshape(-1).detach() * 2).exp()
    assert gpu.launches.total() == 3  # a copy for the new layout, the product, the exponential
    assert next(iter(gpu.launches)).startswith(HERE)
    gpu.reset()
    assert y.shape == (6,)
    (x * 3).sum().backward()
    assert gpu.launches.total() == 4  # a product, a sum, the first gradient, and the product's gradient


def test_outside_there_is_none():
    with pretend_cuda():
        assert torch.cuda.is_available()
    assert not torch.cuda.is_available()
    assert torch.backends.cudnn.enabled
    assert torch.ones(1).device.type == 'cpu'
