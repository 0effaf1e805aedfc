"""Memory, speed and operations of networks whose needs are known."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader

from mmkd.cli.compare.inference import count_flops, first_batch, peak_memory, time_images

MIB = 2**20


class Network(BaseModel):
    """Holds a MiB of weights; two MiB lie beside each other for each image, then one of them and a small one."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(512, 512, bias=False)
        self.ran = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.ran += 1
        batch = torch.stack(inputs) if isinstance(inputs, list) else inputs
        if mode == 'predict':
            large = torch.zeros(len(batch), MIB // 4)
            other = large + 1
            del large
            small = torch.zeros(len(batch), 10)
            return [*other, *small]
        return self.layer(batch)


def batch(images: int) -> dict:
    return dict(inputs=[torch.rand(512) for _ in range(images)])


@pytest.mark.parametrize('images', [1, 3])
def test_the_peak_is_that_of_what_lies_beside_each_other(images):
    assert peak_memory(Network(), batch(images)) == pytest.approx((1 + 2 * images) * MIB, rel=0.01)


def test_operations_of_one_image():
    assert count_flops(Network(), batch(1)) == 512 * 512


def test_none_where_tracing_fails():
    class Untraceable(Network):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            raise NotImplementedError

    assert count_flops(Untraceable(), batch(1)) is None


def test_images_a_second(monkeypatch):
    """The fastest batch counts, and the first one is to warm up."""
    ticks = iter([0, 0.1] + [part for place in range(10) for part in (place + 1, place + 1.5 + (place != 4) / 10)])
    monkeypatch.setattr('mmkd.cli.compare.inference.time.perf_counter', lambda: next(ticks))
    network = Network()
    assert time_images(network, batch(3)) == pytest.approx(3 / 0.5)
    assert network.ran == 11


def test_a_small_set_comes_again():
    loader = DataLoader([torch.tensor(place) for place in range(3)], 2)
    assert first_batch(loader, 5).tolist() == [0, 1, 2, 0, 1]
