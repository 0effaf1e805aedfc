"""The cluster scripts, with srun and python replaced by programs that print their arguments."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def run(tmp_path):
    for name in ('srun', 'sbatch', 'python'):
        program = tmp_path / name
        program.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$0" "$@"\n[[ $0 != *sbatch ]] || cat\n')
        program.chmod(0o755)

    def start(script: str, *args: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [ROOT / 'tools' / script, *args],
            capture_output=True,
            text=True,
            env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', **environment},
            timeout=60,
        )

    return start


def batch_job(folder: Path, script: str, code: int, **environment: str) -> subprocess.CompletedProcess:
    """A batch script as SLURM runs it; its training ends with this exit code."""
    programs = dict(srun=f'printf "%s\\n" "$@"\nexit {code}', scontrol='echo scontrol "$@"')
    for name, text in programs.items():
        (folder / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
        (folder / name).chmod(0o755)
    environment = {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7', **environment}
    return subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True, cwd='/', timeout=60)


def test_slurm_train(run):
    lines = run(
        'slurm_train.sh',
        'part',
        'job',
        'c.py',
        'dir',
        '--amp',
        '--cfg-options',
        'a=b c',
        SRUN_ARGS='--time=10 --exclusive',
        GPUS='16',
    ).stdout.splitlines()
    assert '--gres=gpu:8' in lines
    assert '--ntasks=16' in lines
    assert '--ntasks-per-node=8' in lines
    assert lines[lines.index('--kill-on-bad-exit=1') + 1 :][:2] == ['--time=10', '--exclusive']
    assert lines[-5:] == ['--work-dir=dir', '--launcher=slurm', '--amp', '--cfg-options', 'a=b c']


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_on_nodes_without_gpus(run, script):
    lines = run(script, 'part', 'job', 'c.py', 'x', GPUS='2', GPUS_PER_NODE='0').stdout.splitlines()
    assert not any('gres' in line for line in lines)
    assert '--ntasks-per-node=2' in lines
    assert lines[-1] == '--launcher=slurm'


def test_a_job_that_is_queued_again(run, tmp_path):
    work_dir = str(tmp_path / 'a dir')
    options = dict(GPUS='16', SRUN_ARGS='--time=10', GRACE='60')
    lines = run('slurm_train.sh', '--requeue', 'part', 'job', 'c.py', work_dir, 'a=b c', **options).stdout.splitlines()
    script = lines.index('#!/usr/bin/env bash')
    asked = lines[:script]
    assert asked[0].endswith('/sbatch')
    assert {'--requeue', '--signal=USR1@60', '--gres=gpu:8', '--ntasks=16', '--partition=part', '--time=10'} <= {*asked}
    assert f'--output={work_dir}/slurm-%j.log' in asked
    assert os.path.isdir(work_dir)  # the folder for logs
    for code, again in ((138, True), (143, False), (0, False)):
        job = batch_job(tmp_path, '\n'.join(lines[script:]), code, **options)
        assert job.returncode == code
        assert ('scontrol requeue 7' in job.stdout) == again
        said = job.stdout.splitlines()
        assert {'--ntasks=16', '--time=10', f'--work-dir={work_dir}', 'a=b c'} <= {*said}


@pytest.mark.parametrize(('code', 'again'), [(138, True), (143, False), (0, False)])
def test_the_batch_script_of_the_page(tmp_path, code, again):
    page = (ROOT / 'docs' / 'cluster.md').read_text()
    script = next(block for block in page.split('```')[1::2] if '#SBATCH' in block).partition('\n')[2]
    job = batch_job(tmp_path, script, code)
    assert job.returncode == code  # what SLURM says of the job
    assert 'tools/train.py' in job.stdout
    assert ('scontrol requeue 7' in job.stdout) == again


def test_dist_test(run):
    lines = run(
        'dist_test.sh', 'c.py', 'x.pth', '4', '--tta', NNODES='2', NODE_RANK='1', MASTER_ADDR='host', PORT='1234'
    ).stdout.splitlines()
    assert {'--nnodes=2', '--node_rank=1', '--nproc_per_node=4', '--master_addr=host', '--master_port=1234'} <= {*lines}
    assert lines[-5:] == ['c.py', 'x.pth', '--launcher', 'pytorch', '--tta']


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'dist_train.sh', 'dist_test.sh'])
def test_missing_arguments(run, script):
    result = run(script, 'one')
    assert result.returncode != 0
    assert f'usage: tools/{script}' in result.stderr
