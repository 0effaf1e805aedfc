"""Checks the launcher and sets the environment variables that mmengine reads."""

import json
import os
import time
from pathlib import Path

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
        if not name.endswith(('ADDR', 'NODELIST')):
            number_in(name)
    if launcher == 'slurm':
        job, step = (number_in(name) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
        os.environ.setdefault('MASTER_PORT', str(20000 + (job + step) % 10000))  # jobs may share a node
    if launcher == 'mpi':
        _find_mpi_master()
    if launcher != 'none' and get_device() == 'cuda':
        _check_gpu(launcher)
    if launcher == 'mpi':
        os.environ['LOCAL_RANK'] = os.environ[LOCAL_RANK['mpi']]  # the Runner's DDP reads it


def number_in(variable: str, default: int = 0) -> int:
    """The whole number in an environment variable."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise UserError(
            f'{variable}: this environment variable must be a whole number, not {text!r}; the launcher sets it; '
            'unset it where you set it by hand.'
        )
    return int(text)


def tell_torchrun(sentence: str) -> None:
    """Pass an error to torchrun, which prints it in its last lines."""
    file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if file:
        Path(file).write_text(json.dumps(dict(message=sentence, timestamp=int(time.time()))))


def is_first_process(launcher: str) -> bool:
    """Whether this process has rank 0 and writes files; known before the processes have found each other."""
    return launcher == 'none' or os.environ[NEEDED[launcher][0]] == '0'


def _check_alone() -> None:
    """Raise an error if several processes run without a launcher: they would write the same files."""
    for launcher, mark, size in (
        ('pytorch', 'TORCHELASTIC_RUN_ID', 'WORLD_SIZE'),
        ('mpi', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_SIZE'),
    ):
        if mark in os.environ and number_in(size, 1) > 1:
            raise UserError(
                f'--launcher: {os.environ[size]} processes were started, and without this flag each of them would run '
                f'the whole training in the same work dir; add --launcher {launcher}.'
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
    """Check that each process has its own GPU."""
    rank, gpus = number_in(LOCAL_RANK[launcher]), torch.cuda.device_count()
    if gpus == 1 and launcher != 'pytorch':
        os.environ[LOCAL_RANK[launcher]] = '0'  # CUDA_VISIBLE_DEVICES names one GPU per process, and it is the first
    elif rank >= gpus:
        raise UserError(
            f'--launcher {launcher}: process {rank} of this machine, counted from 0, has no GPU, torch sees {gpus}; '
            'start as many processes as there are GPUs.'
        )
