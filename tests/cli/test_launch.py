import os
import re

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from mmkd.cli import launch
from mmkd.cli.launch import is_first_process, prepare_launch, tell_torchrun
from mmkd.errors import UserError

TORCHRUN = dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='3', MASTER_ADDR='a', MASTER_PORT='1', TORCHELASTIC_RUN_ID='none')
SRUN = dict(
    SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_NODELIST='a', SLURM_STEP_ID='2', SLURM_JOB_ID='12345', SLURM_LOCALID='3'
)
MPIRUN = dict(
    OMPI_COMM_WORLD_RANK='3',
    OMPI_COMM_WORLD_SIZE='4',
    OMPI_COMM_WORLD_LOCAL_RANK='3',
    OMPI_COMM_WORLD_LOCAL_SIZE='4',
)


@pytest.fixture
def started(monkeypatch):
    """No launcher started this process, and the number of GPUs is the one that the test sets."""

    def start(gpus: int = 0, **variables: str) -> None:
        for name in list(os.environ):
            if re.match('SLURM|OMPI|TORCHELASTIC|MASTER|RANK|WORLD|LOCAL', name):
                monkeypatch.delenv(name)
        monkeypatch.setattr(os, 'environ', {**os.environ, **variables})
        monkeypatch.setattr(launch, 'get_device', lambda: 'cuda' if gpus else 'cpu')
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)

    return start


@pytest.mark.parametrize(('launcher', 'variables'), [('pytorch', TORCHRUN), ('slurm', SRUN), ('mpi', MPIRUN)])
@pytest.mark.parametrize('gpus', [0, 4])
def test_started_as_the_flag_says(started, launcher, variables, gpus):
    started(gpus, **variables)
    prepare_launch(launcher)
    assert {**os.environ, **variables} == os.environ


@pytest.mark.parametrize(('launcher', 'variables'), [('pytorch', TORCHRUN), ('slurm', SRUN), ('mpi', MPIRUN)])
def test_which_process_is_the_first(started, launcher, variables):
    name = next(name for name in variables if name.endswith(('RANK', 'PROCID')))
    for rank in ('0', '3'):
        started(**{**variables, name: rank})
        assert is_first_process(launcher) == (rank == '0')
    assert is_first_process('none')


def test_a_single_process(started):
    started()
    prepare_launch('none')
    started(TORCHELASTIC_RUN_ID='none', WORLD_SIZE='1')
    prepare_launch('none')


@pytest.mark.parametrize(
    ('launcher', 'message'),
    [
        ('pytorch', r'--launcher pytorch: RANK is not set; start the processes with torchrun'),
        ('slurm', r'--launcher slurm: SLURM_PROCID is not set; start the processes with srun'),
        ('mpi', r'--launcher mpi: OMPI_COMM_WORLD_RANK is not set; start the processes with mpirun'),
    ],
)
def test_not_started_as_the_flag_says(started, launcher, message):
    started()
    with pytest.raises(UserError, match=message):
        prepare_launch(launcher)


def test_a_batch_script_without_srun_is_no_step(started):
    started(**{name: value for name, value in SRUN.items() if name != 'SLURM_STEP_ID'})
    with pytest.raises(UserError, match='SLURM_STEP_ID is not set; start the processes with srun'):
        prepare_launch('slurm')


@pytest.mark.parametrize(('variables', 'launcher'), [(TORCHRUN, 'pytorch'), (MPIRUN, 'mpi')])
def test_several_processes_that_do_not_know_of_each_other(started, variables, launcher):
    started(**variables)
    with pytest.raises(UserError, match=f'4 processes were started, .* add --launcher {launcher}'):
        prepare_launch('none')


def test_old_launchers_pass_the_local_rank_as_a_flag(started):
    started(**{name: value for name, value in TORCHRUN.items() if name != 'LOCAL_RANK'})
    prepare_launch('pytorch', 2)
    assert os.environ['LOCAL_RANK'] == '2'


def test_slurm_jobs_have_ports_of_their_own(started):
    started(**SRUN)
    prepare_launch('slurm')
    assert os.environ['MASTER_PORT'] == '22347'
    started(**SRUN, MASTER_PORT='1')
    prepare_launch('slurm')
    assert os.environ['MASTER_PORT'] == '1'


def test_mpi_tells_ddp_its_gpu_and_finds_the_master_on_one_machine(started):
    started(4, **MPIRUN)
    prepare_launch('mpi')
    assert (os.environ['LOCAL_RANK'], os.environ['MASTER_ADDR']) == ('3', '127.0.0.1')


def test_mpi_on_several_machines_must_be_told_the_master(started):
    started(**{**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'})
    with pytest.raises(UserError, match=r'MASTER_ADDR is not set, and there are several machines; add to mpirun: -x'):
        prepare_launch('mpi')
    started(**{**MPIRUN, 'OMPI_COMM_WORLD_LOCAL_SIZE': '2', 'MASTER_ADDR': 'a'})
    prepare_launch('mpi')
    assert os.environ['MASTER_ADDR'] == 'a'


def test_a_gpu_bound_to_its_process_is_its_first(started):
    started(1, **SRUN)
    prepare_launch('slurm')
    assert os.environ['SLURM_LOCALID'] == '0'
    started(1, **MPIRUN)
    prepare_launch('mpi')
    assert os.environ['LOCAL_RANK'] == os.environ['OMPI_COMM_WORLD_LOCAL_RANK'] == '0'


@pytest.mark.parametrize(
    ('launcher', 'variables', 'gpus'), [('pytorch', TORCHRUN, 1), ('slurm', SRUN, 3), ('mpi', MPIRUN, 2)]
)
def test_more_processes_than_gpus(started, launcher, variables, gpus):
    started(gpus, **variables)
    with pytest.raises(
        UserError, match=f'--launcher {launcher}: process 3 of this machine.* has no GPU, torch sees {gpus}'
    ):
        prepare_launch(launcher)


@pytest.mark.parametrize(
    ('launcher', 'variables', 'name'),
    [
        ('pytorch', {**TORCHRUN, 'MASTER_PORT': 'abc'}, 'MASTER_PORT'),
        ('slurm', {**SRUN, 'SLURM_JOB_ID': ''}, 'SLURM_JOB_ID'),
        ('mpi', {**MPIRUN, 'OMPI_COMM_WORLD_SIZE': '4.5'}, 'OMPI_COMM_WORLD_SIZE'),
        ('none', dict(TORCHELASTIC_RUN_ID='none', WORLD_SIZE='x'), 'WORLD_SIZE'),
    ],
)
def test_variables_that_are_no_numbers(started, launcher, variables, name):
    started(**variables)
    with pytest.raises(UserError, match=f'^{name}: this environment variable must be a whole number, not '):
        prepare_launch(launcher)


def test_what_torchrun_says_of_a_process_is_its_sentence(started, tmp_path):
    file = tmp_path / 'error.json'
    started(TORCHELASTIC_ERROR_FILE=str(file))
    tell_torchrun('error: model: it lacks teacher.')
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(file))
    said = ChildFailedError('tools/train.py', {0: failure}).format_msg()
    assert 'traceback : error: model: it lacks teacher.' in said


def test_without_torchrun_there_is_nobody_to_tell(started):
    started()
    tell_torchrun('error: model: it lacks teacher.')
