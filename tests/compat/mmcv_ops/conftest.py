from pathlib import Path

import numpy as np
import pytest
import torch


class Fixtures:
    """Results of mmcv's own compiled ops for known inputs."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])


@pytest.fixture(scope='session')
def mmcv_results() -> Fixtures:
    path = Path(__file__).parents[2] / 'data' / 'mmcv_ops_fixtures.npz'
    return Fixtures(dict(np.load(path)))
