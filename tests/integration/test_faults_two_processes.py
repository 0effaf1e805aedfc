"""Two processes under torchrun: one, torchrun or all are killed; resumed, they end with the same weights: make soak.

They are killed in the first epoch of a stage, and go on from its start, or in its second one, where the statistics of
both differ.
"""

import os
import signal

import pytest
import torch

from tests import faults
from tests.faults import TwoProcesses

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested'),
]
MOMENTS = {
    'layer4': 'Epoch(train) [3][1/2]',
    'the middle of layer4': 'Epoch(train) [4][1/2]',
    'head': 'Epoch(train) [5][1/2]',
    'the middle of head': 'Epoch(train) [6][1/2]',
}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return faults.write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def whole(config):
    training = TwoProcesses(config, config.parent / 'whole', length=2)
    assert training.run() == 0, training.text()
    return training.weights()


@pytest.fixture
def training(config, tmp_path):
    return TwoProcesses(config, tmp_path / 'run', length=2)


@pytest.mark.parametrize('stage', MOMENTS)
@pytest.mark.parametrize('rank', [0, 1])
def test_one_is_killed(training, whole, soak, rank, stage):
    with soak.tries(f'Two processes: SIGKILL of the {("first", "second")[rank]} one') as outcome:
        torchrun = training.start()
        training.until(MOMENTS[stage])
        os.kill(faults.ranks(torchrun)[rank], signal.SIGKILL)
        assert torchrun.wait(300) == 1
        goes_on(training, whole, outcome)


@pytest.mark.parametrize('stage', MOMENTS)
def test_all_are_killed(training, whole, soak, stage):
    with soak.tries('Two processes: SIGKILL of both and of torchrun') as outcome:
        torchrun = training.start()
        training.until(MOMENTS[stage])
        pids = faults.ranks(torchrun)
        for pid in (torchrun.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        torchrun.wait(60)
        goes_on(training, whole, outcome)


@pytest.mark.parametrize('stage', MOMENTS)
def test_torchrun_is_killed_and_leaves_them_at_work(training, whole, soak, stage):
    with soak.tries('Two processes: SIGKILL of torchrun, a new run is refused until both are gone') as outcome:
        torchrun = training.start()
        training.until(MOMENTS[stage])
        pids = faults.ranks(torchrun)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # otherwise the training might end too early
        torchrun.kill()
        torchrun.wait(60)
        before = sorted(path.name for path in training.work_dir.iterdir())
        assert training.run() == 1
        assert f'error: work_dir: another training (process {pids[0]} on ' in training.text()
        assert sorted(path.name for path in training.work_dir.iterdir()) == before
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        faults.wait_for_end(pids)
        goes_on(training, whole, outcome)


def goes_on(training, whole, outcome) -> None:
    assert training.run() == 0, training.text()
    outcome.repeated = training.repeated()
    assert training.weights() == whole
