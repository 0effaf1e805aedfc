"""A killed and resumed distillation of a detector ends with the very weights of the one without a fault: make soak."""

import random
import signal
import time

import pytest

from tests import faults
from tests.faults import Training, a, at_boundary, at_iteration, while_writing

pytestmark = pytest.mark.long
FAULTS = {
    'in a stage': a(at_iteration, 2),
    'at a boundary of stages': a(at_boundary, 2),
    'while a checkpoint is written': a(while_writing, 9),
}


@pytest.fixture(scope='module')
def config(config_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp('config')
    cfg = config_of(folder / 'run')
    cfg.pop('work_dir')
    cfg.pop('experiment_name')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


@pytest.fixture(scope='module')
def whole(config):
    training = Training(config, config.parent / 'whole', length=3)
    begin = time.monotonic()
    assert training.run() == 0, training.text()
    return training.weights(), time.monotonic() - begin


@pytest.fixture
def training(config, tmp_path):
    return Training(config, tmp_path / 'run', length=3)


@pytest.mark.parametrize('when', FAULTS)
def test_killed(kind, training, whole, soak, when):
    with soak.tries(f'{kind}: SIGKILL {when}') as outcome:
        assert training.run(FAULTS[when]) == -signal.SIGKILL
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]


@pytest.mark.parametrize('seed', range(3))
def test_killed_at_any_moment(kind, training, whole, soak, seed):
    with soak.tries(f'{kind}: SIGKILL at a random moment') as outcome:
        process = training.start()
        faults.after_a_while(process, whole[1], signal.SIGKILL, random.Random(seed))
        process.join(300)
        assert process.exitcode in (-signal.SIGKILL, 0)
        assert training.run() == 0, training.text()
        outcome.repeated = training.repeated()
        assert training.weights() == whole[0]
