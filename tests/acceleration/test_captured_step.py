"""An optimizer whose step is in the graph learns the same to the last bit; one that cannot be there stays outside."""

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmkd.acceleration.captured_step import CapturedStep
from mmkd.acceleration.iteration_graphs import WARM_UP
from tests.acceleration.twins import Network, Twins, batch

OPTIMIZERS = {
    'SGD': dict(kind=torch.optim.SGD, fused=True, momentum=0.9, weight_decay=0.01),
    'AdamW': dict(kind=torch.optim.AdamW, fused=True, capturable=True),
}


class InTwoGroups(Twins):
    """The head learns at another rate; rates are exact in single precision, which a graph has them in."""

    def wrapper(self, network: torch.nn.Module, clip=None, kind=torch.optim.SGD, **options) -> OptimWrapper:
        groups = [
            dict(params=[*network.body.parameters(), *network.fit.parameters()]),
            dict(params=network.head.parameters(), lr=0.25, weight_decay=0.1),
        ]
        return OptimWrapper(kind(groups, lr=0.0625, **options), clip_grad=clip)

    def schedule(self, **settings: float) -> None:
        for wrapper in self.wrappers:
            for group in wrapper.optimizer.param_groups:
                group['lr'] /= 2
                group.update(settings)


@pytest.fixture
def steps(monkeypatch) -> list:
    """What steps, whenever an optimizer does."""
    found: list = []
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        step = kind.step
        monkeypatch.setattr(kind, 'step', lambda self, *args, step=step: (found.append(self), step(self, *args))[1])
    return found


@pytest.mark.parametrize('options', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_same_to_the_last_bit(options, steps):
    twins = InTwoGroups(**options)
    for index, count in enumerate([6] * (WARM_UP + 3) + [4, 6, 4, 4, 6]):
        twins.check(twins.step(batch(index, count)))
        twins.schedule()
        assert all(isinstance(group['lr'], float) for group in twins.wrappers[1].optimizer.param_groups)
    assert twins.graphs.captured.update is not None
    assert steps.count(twins.wrappers[1].optimizer) == WARM_UP + 1 + 3  # with the capture, and batches of another size


def test_with_another_momentum_the_step_stays_outside(said_in_the_log):
    twins = InTwoGroups(**OPTIMIZERS['SGD'])
    for index in range(3 * WARM_UP):
        twins.check(twins.step(batch(index)))
        twins.schedule(momentum=0.9 if index < WARM_UP + 1 else 0.8 - 0.1 * (index % 2))
    assert twins.is_captured
    assert twins.graphs.captured.update is None
    (sentence,) = said_in_the_log()
    assert 'stays outside, since more than its learning rate changes' in sentence


def test_where_a_capture_with_it_fails_the_step_stays_outside(said_in_the_log, monkeypatch):
    def fails(self):
        raise RuntimeError('operation not permitted when stream is capturing')

    monkeypatch.setattr(CapturedStep, 'run', fails)
    twins = InTwoGroups(**OPTIMIZERS['SGD'])
    for index in range(WARM_UP + 2):
        assert not twins.is_captured
        twins.step(batch(index))
    assert twins.graphs.captured.update is None
    (sentence,) = said_in_the_log()
    assert 'stays outside, since a capture with it failed (RuntimeError: operation not permitted' in sentence


@pytest.mark.parametrize(
    ('options', 'possible'),
    [
        (OPTIMIZERS['SGD'], True),
        (OPTIMIZERS['AdamW'], True),
        (dict(kind=torch.optim.SGD), False),
        (dict(kind=torch.optim.AdamW, fused=True), False),  # torch asks for capturable
        (dict(OPTIMIZERS['SGD'], clip=dict(max_norm=1)), False),
    ],
)
def test_what_torch_cannot_capture_stays_outside(options, possible):
    twins = Twins(**options)
    assert CapturedStep.is_possible(twins.wrappers[0]) is possible
    for index in range(WARM_UP + 2):
        twins.check(twins.step(batch(index)))
    assert (twins.graphs.captured.update is not None) is possible


def test_after_a_failed_step_rates_are_numbers(monkeypatch):
    network = Network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, fused=True)
    update = CapturedStep(OptimWrapper(optimizer))
    monkeypatch.setattr(optimizer, 'step', lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        update.run()
    assert optimizer.param_groups[0]['lr'] == 0.1
