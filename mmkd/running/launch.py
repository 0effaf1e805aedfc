"""What started the processes, told to mmengine in the words that it reads."""

import os

import torch
from mmengine.device import get_device

from mmkd.errors import UserError

NEEDED = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST', 'SLURM_STEP_ID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
STARTED_BY = {
    'pytorch': 'torchrun (tools/dist_train.sh)',
    'slurm': 'srun (tools/slurm_train.sh)',
    'mpi': 'mpirun of Open MPI',
}
LOCAL_RANK = {'pytorch': 'LOCAL_RANK', 'slurm': 'SLURM_LOCALID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}


def prepare_launch(launcher: str, local_rank: int = 0) -> None:
    """Check that the processes were started as the flag says, and fill in what mmengine does not.

    Args:
        launcher: The flag ``--launcher``.
        local_rank: The flag ``--local_rank`` of old launchers.
    """
    if launcher == 'none':
        _check_alone()
    elif launcher == 'pytorch':
        os.environ.setdefault('LOCAL_RANK', str(local_rank))
    for name in NEEDED.get(launcher, ()):
        if name not in os.environ:
            raise UserError(
                f'--launcher {launcher}: {name} is not set; start the processes with {STARTED_BY[launcher]}, '
                'or leave --launcher out for a single process.'
            )
    if launcher == 'slurm':
        job, step = (int(os.environ.get(name, 0)) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
        os.environ.setdefault('MASTER_PORT', str(20000 + (job + step) % 10000))  # jobs may share a node
    if launcher == 'mpi':
        _find_mpi_master()
    if launcher != 'none' and get_device() == 'cuda':
        _check_gpu(launcher)
    if launcher == 'mpi':
        os.environ['LOCAL_RANK'] = os.environ[LOCAL_RANK['mpi']]  # the Runner's DDP reads it


def is_first_process(launcher: str) -> bool:
    """Whether this is the process of rank 0, which writes; known before the processes have found each other."""
    return launcher == 'none' or os.environ[NEEDED[launcher][0]] == '0'


def _check_alone() -> None:
    """Several processes that do not know of each other would write the same files."""
    for launcher, mark, size in (
        ('pytorch', 'TORCHELASTIC_RUN_ID', 'WORLD_SIZE'),
        ('mpi', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_SIZE'),
    ):
        if mark in os.environ and int(os.environ.get(size, 1)) > 1:
            raise UserError(
                f'--launcher: {os.environ[size]} processes were started, and each would train alone in the same work '
                f'dir; add --launcher {launcher}.'
            )


def _find_mpi_master() -> None:
    size = os.environ['OMPI_COMM_WORLD_SIZE']
    if 'MASTER_ADDR' not in os.environ:
        if os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') != size:
            raise UserError(
                '--launcher mpi: MASTER_ADDR is not set, and there are several machines; '
                'add to mpirun: -x MASTER_ADDR=<the host of rank 0>.'
            )
        os.environ['MASTER_ADDR'] = '127.0.0.1'


def _check_gpu(launcher: str) -> None:
    """Each process has a GPU of its own."""
    rank, gpus = int(os.environ.get(LOCAL_RANK[launcher], 0)), torch.cuda.device_count()
    if gpus == 1 and launcher != 'pytorch':
        os.environ[LOCAL_RANK[launcher]] = '0'  # bound to its process, of which it is the first
    elif rank >= gpus:
        raise UserError(
            f'--launcher {launcher}: process {rank} of this machine, counted from 0, has no GPU, torch sees {gpus}; '
            'start as many processes as there are GPUs.'
        )
