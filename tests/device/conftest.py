"""Tests for a GPU: tools/device_run.sh runs them there; its dry run runs one variant of each on the CPU.

``MMKD_DEVICE_DRY_RUN=all pytest tests/device`` runs all their variants on the CPU.
"""

import os

import pytest
import torch
from mmengine.hooks import Hook

DRY_RUN = os.environ.get('MMKD_DEVICE_DRY_RUN')


def pytest_collection_modifyitems(items):
    """Skip all tests without a GPU; a dry run runs the first possible variant of each."""
    seen = set()
    for item in items:
        if 'tests/device/' not in item.nodeid:
            continue
        if not DRY_RUN:
            reason = '' if torch.cuda.is_available() else 'for a GPU'
        elif item.get_closest_marker('only_cuda'):
            reason = 'the CPU cannot do it'
        else:
            reason = 'dry run' if item.originalname in seen and DRY_RUN != 'all' else ''
            seen.add(item.originalname)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope='session')
def device() -> str:
    """The device on which all tensors have to lie."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def network_bytes(*networks: torch.nn.Module) -> list[bytes]:
    """Copies of all weights and buffers, for comparisons."""
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    return [tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors]


class Watch(Hook):
    """Every loss, and which stages learned; checks that nothing else changed or lies on another device."""

    priority = 'LOWEST'

    def __init__(self, device: str):
        self.device, self.losses = device, []

    def before_train(self, runner):
        self.teacher = network_bytes(runner.model.teacher.network)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.frozen = {name: p.detach().clone() for name, p in runner.model.named_parameters() if not p.requires_grad}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert outputs['loss'].device.type == self.device
        self.losses.append((runner.model.current, outputs['loss'].item()))
        networks = runner.model, runner.model.teacher.network
        assert {t.device.type for network in networks for t in network.state_dict().values()} == {self.device}
        for name, p in runner.model.named_parameters():
            assert name not in self.frozen or torch.equal(p, self.frozen[name]), name

    def after_train(self, runner):
        assert network_bytes(runner.model.teacher.network) == self.teacher


@pytest.fixture
def train(device):
    """Train to the end under observation, and return the losses."""

    def run(runner) -> list:
        watch = Watch(device)
        runner.register_hook(watch)
        runner.train()
        return watch.losses

    return run
