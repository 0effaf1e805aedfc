"""Iterations replayed from a graph equal the plain ones bit for bit; where there can be no graph, training goes on."""

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmkd.acceleration.cuda_graph import CudaGraph
from mmkd.acceleration.iteration_graphs import SELDOM_ALIKE, WARM_UP, GraphedIterations, iteration_graphs
from mmkd.errors import UserError
from tests.acceleration.recorded_graph import RecordedGraph
from tests.acceleration.twins import Network, Twins, batch


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1)])
@pytest.mark.parametrize('kind', [dict(), dict(scores=True), dict(labels=False)])
def test_the_same_to_the_last_bit(clip, kind):
    twins = Twins(clip=clip)
    kept = []
    for index in range(WARM_UP + 6):
        kept.append(twins.step(batch(index, **kind)))
        twins.check(kept[-1])
        for wrapper in twins.wrappers:  # a scheduler does this
            wrapper.optimizer.param_groups[0]['lr'] *= 0.9
        assert twins.is_captured is (index >= WARM_UP)
    for logs in kept:  # the value stays when it is read later
        twins.check([logs[0], logs[0]])
        assert all(torch.equal(logs[0][name], logs[1][name]) for name in logs[0])
    assert sum(bool(graph.calls) for graph in twins.made) == 1


def test_a_batch_of_another_size_goes_the_plain_way():
    twins = Twins()
    for index, count in enumerate([6] * (WARM_UP + 2) + [4, 4, 6, 6, 4, 6]):
        twins.check(twins.step(batch(index, count)))
    assert sum(bool(graph.calls) for graph in twins.made) == 1


@pytest.mark.parametrize('sizes', [[6, 4], [6, 6, 6, 4], [6, 4, 5]])
def test_batches_that_always_differ_are_never_captured_and_the_log_says_so(sizes, said_in_the_log):
    twins = Twins()
    for index in range(SELDOM_ALIKE + 8):
        assert not said_in_the_log() or index >= SELDOM_ALIKE
        twins.check(twins.step(batch(index, sizes[index % len(sizes)])))
    assert not twins.is_captured
    (sentence,) = said_in_the_log()
    assert 'all iterations run without a graph as long as no 4 in a row have batches of one size' in sentence


def test_a_kind_that_has_come_to_stay_has_its_own_graph(said_in_the_log):
    """Such as when a loss ends in the middle of a phase; the memory of the first graph is free again."""
    twins = Twins()
    for index in range(4 * WARM_UP + 4):
        if index == 2 * WARM_UP:
            for network in (twins.plain, twins.ours):
                network.factor = 0.5
        twins.check(twins.step(batch(index), kind='half' if index >= 2 * WARM_UP else 'whole'))
        if index == 2 * WARM_UP + WARM_UP - 1:
            assert twins.graphs.captured.kind[0] == 'whole'
    assert twins.graphs.captured.kind[0] == 'half'
    assert sum(bool(graph.calls) for graph in twins.made) == 2
    assert not said_in_the_log()  # it was no batch of another size


def test_another_number_of_labels_is_another_size():
    twins = Twins()
    for index in range(WARM_UP + 2):
        twins.step(batch(index))
    data = batch(99)
    assert twins.is_captured
    logs = twins.step(dict(data, data_samples=None))
    assert list(logs[1]) == ['loss', 'loss_fit']
    twins.check(logs)


def test_what_the_host_decides_is_said_by_the_kind():
    twins = Twins()
    for index in range(WARM_UP + 2):
        twins.step(batch(index), kind='whole')
    for network in (twins.plain, twins.ours):
        network.factor = 0.5
    stale = twins.step(batch(98), kind='whole')  # nobody was told
    assert not torch.equal(stale[0]['loss_fit'], stale[1]['loss_fit'])
    twins = Twins()
    for index in range(2 * WARM_UP + 4):
        if index == WARM_UP + 2:
            for network in (twins.plain, twins.ours):
                network.factor = 0.5
        twins.check(twins.step(batch(index), kind='half' if index >= WARM_UP + 2 else 'whole'))


def test_dropped_it_is_captured_anew():
    twins = Twins()
    for index in range(WARM_UP + 2):
        twins.step(batch(index))
    for network in (twins.plain, twins.ours):
        network.head = nn.Linear(8, 5)
        nn.init.ones_(network.head.weight)
        nn.init.zeros_(network.head.bias)
    twins.wrappers = [twins.wrapper(network) for network in (twins.plain, twins.ours)]
    twins.graphs.drop()
    for index in range(WARM_UP + 3):
        twins.check(twins.step(batch(index)))
    assert twins.is_captured
    assert sum(bool(graph.calls) for graph in twins.made) == 2


def test_what_cannot_be_captured_goes_the_plain_way(said_in_the_log):
    twins = Twins()
    twins.plain.asks = twins.ours.asks = True
    for index in range(2 * WARM_UP + 5):
        twins.check(twins.step(batch(index)))
        if index == WARM_UP + 1:
            twins.graphs.drop()
    (sentence,) = said_in_the_log()
    assert 'since it cannot be captured (RuntimeError: operation not permitted when stream is capturing)' in sentence
    assert sum(bool(graph.calls) for graph in twins.made) == 1  # the capture was tried once


def test_samples_of_detectors_go_the_plain_way(said_in_the_log):
    twins = Twins()
    data = batch(0)
    for sample in data['data_samples']:
        sample.set_field(torch.zeros(2, 4), 'boxes')
    for _ in range(WARM_UP + 2):
        twins.check(twins.step(data))
    (sentence,) = said_in_the_log()
    assert 'samples hold more than labels' in sentence


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda o: OptimWrapper(o, accumulative_counts=2), 'accumulative_counts adds up the gradients'),
        (lambda o: AmpOptimWrapper.__new__(AmpOptimWrapper), 'optim_wrapper is an AmpOptimWrapper'),
    ],
)
def test_optimizers_that_need_backward_go_the_plain_way(make, said, said_in_the_log):
    wrapper = make(torch.optim.SGD(Network().parameters(), lr=0.1))
    graphs = GraphedIterations(RecordedGraph)
    assert not any(graphs.takes(wrapper) for _ in range(3))
    (sentence,) = said_in_the_log()
    assert said in sentence


def test_after_a_failed_capture_nothing_is_left_of_it():
    class Fails(RecordedGraph):
        def capture(self, work):
            ours.body[1].running_mean = torch.full_like(ours.body[1].running_mean, torch.nan)
            ours.head.weight.grad = torch.full_like(ours.head.weight, torch.nan)
            raise RuntimeError('out of memory')

    twins = Twins()
    ours = twins.ours
    twins.graphs = GraphedIterations(Fails)
    for index in range(WARM_UP + 2):
        twins.check(twins.step(batch(index)))


@pytest.mark.parametrize(
    ('available', 'processes', 'said'), [(False, 1, 'there is no GPU'), (True, 2, 'there are several processes')]
)
def test_where_there_can_be_none_the_log_says_so(available, processes, said, monkeypatch, said_in_the_log):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: available)
    monkeypatch.setattr('mmkd.acceleration.iteration_graphs.get_world_size', lambda: processes)
    assert iteration_graphs(True) is None
    (sentence,) = said_in_the_log()
    assert sentence == f'model.cuda_graph: all iterations run without a graph, since {said}.'
    assert iteration_graphs(False) is None
    assert len(said_in_the_log()) == 1


def test_with_a_gpu_there_are_graphs(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert iteration_graphs(True).make is CudaGraph


@pytest.mark.parametrize(
    ('wanted', 'compiles', 'said'),
    [('yes', False, 'True or False'), (True, dict(), 'model.compile'), (1, False, 'not 1')],
)
def test_bad_options(wanted, compiles, said):
    with pytest.raises(UserError, match=f'model.cuda_graph: .*{said}'):
        iteration_graphs(wanted, compiles)
