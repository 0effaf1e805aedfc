"""A real SLURM on this machine alone: daemons on loopback, with their own configuration, keys and ports."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import free_ports

PATH = f'{os.environ["PATH"]}:/usr/sbin:/sbin'
MISSING = [program for program in ('munged', 'slurmctld', 'slurmd', 'srun') if not shutil.which(program, path=PATH)]

CONFIG = """
ClusterName=mmkd
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName={first} NodeHostname={host} NodeAddr=127.0.0.1 Port={first_port} CPUs=2
NodeName={second} NodeHostname={second} NodeAddr=127.0.0.1 Port={second_port} CPUs=2
PartitionName=main Nodes={first} Default=YES
PartitionName=both Nodes=ALL
"""


class Cluster:
    """Two nodes of two processors each, both on this machine."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().partition('.')[0]
        first = self.host if _is_known(self.host) else 'localhost'
        self.nodes = (first, f'{first}-too')  # SLURM sorts names; nothing resolves the second one's
        outer = {name: value for name, value in os.environ.items() if not name.startswith(('SLURM', 'MASTER'))}
        self.environment = {**outer, 'PATH': PATH, 'SLURM_CONF': str(folder / 'slurm.conf')}

    def configure(self) -> None:
        """Write the daemons' configuration."""
        controller_port, first_port, second_port = free_ports(3)
        text = CONFIG.format(
            folder=self.folder,
            user=getpass.getuser(),
            host=self.host,
            first=self.nodes[0],
            second=self.nodes[1],
            controller_port=controller_port,
            first_port=first_port,
            second_port=second_port,
        )
        (self.folder / 'slurm.conf').write_text(text)
        for name in ('state', 'spool'):
            (self.folder / name).mkdir()
        (self.folder / 'key').write_bytes(os.urandom(128))
        (self.folder / 'key').chmod(0o600)

    @contextmanager
    def daemon(self, *command: str) -> Iterator[None]:
        """Run the daemons during the block."""
        with (self.folder / f'{command[0]}_{command[-1].rpartition("/")[2]}.log').open('w') as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *command: str) -> str:
        """The output of a SLURM program, '' if it fails."""
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        return run.stdout.strip()

    def cancel_all(self) -> None:
        """End the processes of its jobs, which are children of no daemon."""
        for partition in ('main', 'both'):
            self.ask('scancel', f'--partition={partition}', '--state=PENDING')
            self.ask('scancel', f'--partition={partition}', '--signal=KILL', '--full')
            self.ask('scancel', f'--partition={partition}')
        wait_for(lambda: not self.ask('squeue', '--noheader'), 'jobs to end', self.folder)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that accepts jobs; nothing of it remains afterwards."""
    with tempfile.TemporaryDirectory(prefix='slurm') as name, ExitStack() as daemons:  # short: it holds sockets
        folder = Path(name)
        made = Cluster(folder)
        made.configure()
        files = (f'--{key}={folder}/{file}' for key, file in (('key-file', 'key'), ('socket', 'munge.sock')))
        more = (f'--{key}-file={folder}/munged.{key}' for key in ('pid', 'log', 'seed'))
        daemons.enter_context(made.daemon('munged', '--foreground', '--force', *files, *more))
        wait_for((folder / 'munge.sock').exists, 'munged', folder)
        daemons.enter_context(made.daemon('slurmctld', '-D'))
        for node in made.nodes:
            daemons.enter_context(made.daemon('slurmd', '-D', '-N', node))
        states = 'sinfo', '--noheader', '--format=%T', '--partition=both'
        wait_for(lambda: made.ask(*states) == 'idle', 'idle nodes', folder)
        try:
            yield made
        finally:
            made.cancel_all()


def wait_for(happened: Callable[[], object], what: str, folder: Path, seconds: float = 120) -> None:
    """Wait until the condition holds; if it never does, fail with the logs from the folder."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            logs = '\n'.join(f'{log}:\n{log.read_text()[-3000:]}' for log in sorted(folder.rglob('*.log')))
            raise AssertionError(f'waited for {what} for {seconds} s\n{logs}')
        time.sleep(0.1)


def _is_known(host: str) -> bool:
    try:
        return bool(socket.gethostbyname(host))
    except OSError:
        return False
