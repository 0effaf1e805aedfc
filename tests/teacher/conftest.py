"""A trained teacher, and the messages logged about it."""

import logging

import pytest
import torch

from tests.teacher.networks import network


@pytest.fixture
def trained(tmp_path):
    path = tmp_path / 'r18.pth'
    state = network().state_dict()
    torch.save(dict(meta=dict(epoch=3), state_dict=state), path)
    return str(path), state


@pytest.fixture
def logged(monkeypatch):
    """Arguments of print_log: (level, message)."""
    lines = []
    for module in ('network', 'checkpoint'):
        monkeypatch.setattr(
            f'mmkd.teacher.{module}.print_log',
            lambda text, logger, level=logging.INFO: lines.append((level, text)),
        )
    return lines
