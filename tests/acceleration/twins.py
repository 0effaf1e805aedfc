"""The same small network twice, trained without and with graphs."""

import copy
from collections import OrderedDict

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from mmkd.acceleration.iteration_graphs import GraphedIterations
from mmkd.features.least_squares import LeastSquares
from tests.acceleration.recorded_graph import RecordedGraph

DataSample = pytest.importorskip('mmpretrain.structures').DataSample


class Network(BaseModel):
    """Learns labels or soft scores, and a map that is fitted."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 5)
        self.fit = LeastSquares(8, 3)
        self.factor = 1.0  # the host decides this
        self.asks = False

    def forward(self, inputs, data_samples=None, mode='loss'):
        if self.asks:
            float(inputs.sum())
        feature = self.body(inputs).mean((2, 3))
        self.fit.observe(feature.detach(), inputs.mean((2, 3)))
        losses = dict(loss_fit=self.factor * self.fit(feature).square().mean())
        if data_samples is not None:
            samples = [sample.get('gt_score', sample.gt_label) for sample in data_samples]
            target = torch.stack(samples) if samples[0].is_floating_point() else torch.cat(samples)
            losses['loss_labels'] = nn.functional.cross_entropy(self.head(feature), target)
        return losses


def batch(index: int, count: int = 6, scores: bool = False, labels: bool = True) -> dict:
    draw = torch.Generator().manual_seed(index)
    samples = [DataSample().set_gt_label(int(torch.randint(5, (1,), generator=draw))) for _ in range(count)]
    if scores:
        samples = [sample.set_gt_score(torch.rand(5, generator=draw)) for sample in samples]
    return dict(inputs=torch.randn(count, 3, 6, 6, generator=draw), data_samples=samples if labels else None)


class Twins:
    """The same network, trained without and with graphs."""

    def __init__(self, **options):
        torch.manual_seed(0)
        self.plain, self.ours = (network := Network()), copy.deepcopy(network)
        self.wrappers = [self.wrapper(network, **options) for network in (self.plain, self.ours)]
        self.graphs = GraphedIterations(self.make)
        self.made: list[RecordedGraph] = []
        self.random = [torch.get_rng_state()] * 2

    def make(self) -> RecordedGraph:
        self.made.append(RecordedGraph())
        return self.made[-1]

    def wrapper(self, network: nn.Module, clip=None, kind=torch.optim.AdamW, **more) -> OptimWrapper:
        return OptimWrapper(kind(network.parameters(), **dict(dict(lr=0.05), **more)), clip_grad=clip)

    @property
    def is_captured(self) -> bool:
        return self.graphs.captured is not None

    def step(self, data: dict, kind=()) -> list[OrderedDict]:
        def ours(network, data, wrapper):
            assert self.graphs.takes(wrapper)
            return self.graphs.train_step(network, data, wrapper, kind)

        logs = []
        for index, (network, step) in enumerate(((self.plain, Network.train_step), (self.ours, ours))):
            torch.set_rng_state(self.random[index])
            logs.append(step(network, copy.deepcopy(data), self.wrappers[index]))
            self.random[index] = torch.get_rng_state()
        return logs

    def check(self, logs: list) -> None:
        assert list(logs[0]) == list(logs[1])
        assert all(torch.equal(logs[0][name], logs[1][name]) for name in logs[0])
        for (name, one), other in zip(self.plain.state_dict().items(), self.ours.state_dict().values()):
            assert torch.equal(one, other), name
        assert self.wrappers[0]._inner_count == self.wrappers[1]._inner_count
