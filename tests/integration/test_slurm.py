"""Jobs on a real SLURM: two ranks pass a stage boundary, are requeued and finish; and two ranks on two nodes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmkd.utils.configs import load_config
from tests.conftest import ROOT
from tests.slurm import MISSING, Cluster, cluster, wait_for

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f'no SLURM here ({", ".join(MISSING)}): apt-get install slurm-wlm munge'),
    pytest.mark.skipif(torch.cuda.is_available(), reason='gloo on CPUs is what is tested'),
]
CONFIGS = ROOT / 'configs'
STUDENT = CONFIGS / 'baselines' / 'resnet18-w16_digits.py'
SSKD = CONFIGS / 'sskd' / 'sskd_resnet18-w32_resnet18-w16_digits.py'

HOLD = """
import os
import time
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Hold(Hook):
    '''Stands still in an epoch until a signal has come, so that nothing depends on how fast the machine is.'''

    epoch = int(os.environ.get('HOLD_AT', -1))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        mark = Path(runner.work_dir, f'held_{runner.epoch}_{runner.rank}')
        if runner.epoch == self.epoch and not mark.exists():
            mark.touch()
            (preemption,) = (hook for hook in runner.hooks if type(hook).__name__ == 'PreemptionHook')
            end = time.monotonic() + 60
            while not preemption.caught and time.monotonic() < end:
                time.sleep(0.05)


@HOOKS.register_module()
class Tell(Hook):
    '''Says where it runs, and where it looks for the others.'''

    def before_run(self, runner):
        names = ('SLURMD_NODENAME', 'SLURM_NTASKS', 'SLURM_NODELIST', 'MASTER_ADDR')
        print('Rank', runner.rank, *(os.environ[name] for name in names))
"""
CONFIG = """
_base_ = '{sskd}'
custom_imports = dict(imports=['hold'])
custom_hooks = [dict(type='Hold')]
model = dict(teacher=dict(checkpoint=None))
train_cfg = dict(max_epochs=4)
train_dataloader = dict(dataset=dict(indices=256))
val_dataloader = dict(dataset=dict(indices=20))
default_hooks = dict(
    stages=dict(stages=['layer1', 'head'], lengths=[2, 2], score_teacher=False),
    preemption=dict(type='mmkd.PreemptionHook', interval=1))
"""


@pytest.fixture(scope='module')
def slurm():
    with cluster() as made:
        yield made


@pytest.fixture
def submit(slurm: Cluster, tmp_path):
    """Submit a script of ours to the cluster, for two processes."""
    (tmp_path / 'hold.py').write_text(HOLD)
    (tmp_path / 'config.py').write_text(CONFIG.format(sskd=SSKD))
    environment = {
        **slurm.environment,
        'PATH': f'{os.path.dirname(sys.executable)}:{slurm.environment["PATH"]}',
        'PYTHONPATH': f'{tmp_path}:{ROOT}',
        'OMP_NUM_THREADS': '1',
        'GPUS': '2',
        'GPUS_PER_NODE': '0',
        'CPUS_PER_TASK': '1',
    }

    def start(*options, script='slurm_train.sh', nodes='main', target='run', flags=(), **more) -> subprocess.Popen:
        arguments = [nodes, 'digits', tmp_path / 'config.py', tmp_path / target, *flags]
        command = [ROOT / 'tools' / script, *options, *arguments]
        with (tmp_path / 'srun.log').open('a') as log:
            return subprocess.Popen(command, env=environment | more, cwd=tmp_path, stdout=log, stderr=log)

    return start


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder in which the jobs train."""
    return tmp_path / 'run'


def logs(run: Path) -> str:
    return ''.join(log.read_text() for log in [*run.glob('*.log'), *run.parent.glob('*.log')])


def stands_still(slurm: Cluster, run: Path, epoch: int) -> str:
    """Wait until both ranks train, and return the job."""
    marks = [run / f'held_{epoch}_{rank}' for rank in (0, 1)]
    wait_for(lambda: slurm.ask('squeue', '--noheader'), 'a job', run.parent)
    wait_for(
        lambda: all(map(Path.exists, marks)) or not slurm.ask('squeue', '--noheader'), f'epoch {epoch}', run.parent
    )
    assert all(map(Path.exists, marks)), logs(run)
    (job,) = slurm.ask('squeue', '--noheader', '--format=%i').split()
    return job


def told(text: str, what: str) -> list[str]:
    return [line.split(' INFO - ')[1] for line in text.splitlines() if what in line]


def check_student(run: Path) -> None:
    """The last iteration's checkpoint contains the student as it is."""
    init_default_scope('mmpretrain')
    student = MODELS.build(load_config(str(STUDENT)).model)
    saved = torch.load(run / 'epoch_4.pth', weights_only=False)
    assert saved['meta']['iter'] == 8
    student.load_state_dict(saved['state_dict'], strict=True)


def test_a_job_that_is_taken_away_goes_on(slurm: Cluster, submit, run, tmp_path):
    """A job of sbatch gets SIGUSR1, as at a time limit, in the second stage."""
    batch = submit('--requeue', flags=('--resume',), HOLD_AT='2')
    assert batch.wait(120) == 0, logs(run)
    job = stands_still(slurm, run, 2)
    slurm.ask('scancel', '--signal=USR1', job)
    wait_for(lambda: 'Restarts=1 ' in slurm.ask('scontrol', 'show', 'job', job), 'another start', tmp_path)
    wait_for(lambda: not slurm.ask('squeue', '--noheader'), 'the end', tmp_path)
    assert 'JobState=COMPLETED' in slurm.ask('scontrol', 'show', 'job', job), logs(run)

    text = (run / f'slurm-{job}.log').read_text()
    assert text.count('Distributed launcher: slurm') == 2
    assert text.count('GPU number: 2') == 2  # mmengine's tag for the number of processes
    assert 'SIGUSR1 at iteration 5: --resume goes on from' in text
    assert told(text, ' INFO - resumed epoch') == ['resumed epoch: 2, iter: 4']
    assert told(text, 'Stage head begins') == ['Stage head begins: 2 epochs.'] * 2  # before and after the requeue
    check_student(run)


@pytest.mark.long  # programs have to start twice, as in the test above, which differs in signal and stage
def test_a_job_that_is_ended_can_be_resumed(slurm: Cluster, submit, run):
    """A job of srun gets SIGTERM in the middle of the first stage."""
    first = submit(HOLD_AT='1')
    stands_still(slurm, run, 1)
    slurm.ask('scancel', '--signal=TERM', '--name=digits')
    assert first.wait(120) == 143, logs(run)
    assert 'GPU number: 2' in logs(run)
    assert 'SIGTERM at iteration 3: --resume goes on from' in logs(run)
    assert [path.name for path in run.glob('*.pth') if not path.name.startswith('best')] == ['epoch_1.pth']

    assert submit(flags=('--resume',)).wait(120) == 0, logs(run)
    text = (run.parent / 'srun.log').read_text()
    assert text.count('Distributed launcher: slurm') == 2
    assert told(text, ' INFO - resumed epoch') == ['resumed epoch: 1, iter: 2']
    assert told(text, 'Stage head begins') == ['Stage head begins: 2 epochs.']
    check_student(run)


def test_two_nodes_find_each_other(slurm: Cluster, submit, tmp_path):
    init_default_scope('mmpretrain')
    cfg = load_config(str(STUDENT))
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'student.pth')
    (tmp_path / 'config.py').write_text(f"{CONFIG.format(sskd=SSKD)}custom_hooks = [dict(type='Tell')]\n")
    flags = ('--out', tmp_path / 'two.pkl', '--work-dir', tmp_path / 'tested')
    job = submit(script='slurm_test.sh', nodes='both', target='student.pth', flags=flags, TASKS_PER_NODE='1')
    code, text = job.wait(120), (tmp_path / 'srun.log').read_text()
    assert code == 0, text
    first, second = slurm.nodes
    ranks = sorted(line for line in text.splitlines() if line.startswith('Rank '))
    assert ranks == [f'Rank 0 {first} 2 {first},{second} {first}', f'Rank 1 {second} 2 {first},{second} {first}']

    cfg.update(load_from=str(tmp_path / 'student.pth'), work_dir=str(tmp_path / 'alone'), experiment_name='alone')
    cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpResults', out_file_path=str(tmp_path / 'one.pkl'))]
    Runner.from_cfg(cfg).test()
    one, two = (pickle.loads((tmp_path / f'{name}.pkl').read_bytes()) for name in ('one', 'two'))
    assert [sample['sample_idx'] for sample in one] == [sample['sample_idx'] for sample in two]
    for alone, shared in zip(one, two):
        torch.testing.assert_close(alone['pred_score'], shared['pred_score'])
