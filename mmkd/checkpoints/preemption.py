"""Stops a run cleanly when the machine is preempted."""

import os
import signal
import threading
from functools import partial
from pathlib import Path

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmkd.checkpoints.atomic_files import saves_in_memory, write_whole
from mmkd.checkpoints.resume import INTERRUPTED, POINTER, find_checkpoints
from mmkd.registry import HOOKS

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """At SIGTERM, SIGUSR1 or SIGINT the run ends after the current iteration, and ``--resume`` continues it.

    An iteration loop continues with the next iteration. An epoch loop, which mmengine resumes at the start of an epoch
    only, repeats the interrupted epoch: where the checkpoint hook does not save each epoch, the state at the end of the
    last one is kept in memory. Either is written as ``interrupted.pth``, unless the checkpoint hook has just saved the
    same. The exit code is 128 plus the signal's number. All processes of a distributed run end after the same
    iteration. A second SIGINT ends the run at once.

    ``tools/train.py`` adds it to every training; ``default_hooks = dict(preemption=None)`` leaves it out.

    Args:
        interval (int): How often, in iterations, the processes of a distributed run ask each other for signals.

    Example:
        >>> default_hooks = dict(preemption=dict(type='mmkd.PreemptionHook', interval=50))
    """

    priority = 'LOWEST'  # after the checkpoint hook

    def __init__(self, interval: int = 10):
        self.interval = interval
        self.caught = 0  # the signal that this process caught
        self.agreed = 0  # the signal at which all processes leave
        self.held: dict[str, bytes] | None = None  # the state to resume from, in the first process; None: it is on disk

    def before_train(self, runner: Runner) -> None:
        """Install the signal handlers."""
        self.by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.saver = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        self.previous: dict = {}
        if threading.current_thread() is threading.main_thread():  # others cannot
            self.previous = {number: signal.signal(number, self._catch) for number in SIGNALS}
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            self.protect(loop.dataloader)

    @staticmethod
    def protect(loader: DataLoader) -> None:
        """Let the workers of a loader outlive signals; call it before they start, for a loader besides the loops'."""
        loader.worker_init_fn = partial(_leave_signals_alone, loader.worker_init_fn)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Stop here, unless the epoch ends anyway or gradients are being accumulated."""
        if self.by_epoch:
            if not self.end_of_epoch(runner.train_dataloader, batch_idx):
                self.leave_if_wanted(runner, runner.iter)
        elif self._wanted_back(runner.iter) and runner.optim_wrapper.should_update():
            self._keep(runner, runner.epoch, runner.iter + 1)
            self._leave(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Keep the state from which an epoch loop can resume."""
        if self.by_epoch:
            self._keep(runner, runner.epoch + 1, runner.iter)
            if self._wanted_back():
                self._leave(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the state again, with what the validation changed."""
        if self.held is not None:
            self._keep(runner, runner.epoch, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self.previous.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def leave_if_wanted(self, runner: Runner, step: int) -> None:
        """Stop within an epoch, or in long work before it; a resumed run continues from the last epoch's end."""
        if self._wanted_back(step):
            self._leave(runner)

    def _catch(self, number: int, frame) -> None:
        if self.caught and number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.caught = number
        os.write(2, f'{signal.Signals(number).name}: leaving after this iteration; Ctrl-C now ends at once.\n'.encode())

    def _wanted_back(self, iteration: int | None = None) -> bool:
        """Whether all processes stop; they synchronise only every ``interval`` iterations."""
        if not self.agreed:
            if get_world_size() == 1:
                self.agreed = self.caught
            elif iteration is None or iteration % self.interval == 0:
                highest = torch.tensor(self.caught)
                all_reduce(highest, op='max')
                self.agreed = int(highest)
        return bool(self.agreed)

    def _keep(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Keep the current checkpoint in memory, unless it is on the disk."""
        self.held = None
        if not self._is_saved(epoch if self.by_epoch else iteration):
            with saves_in_memory() as files:
                runner.save_checkpoint(runner.work_dir, INTERRUPTED, meta=dict(epoch=epoch, iter=iteration))
            self.held = files

    def _is_saved(self, done: int) -> bool:
        saver = self.saver
        return saver is not None and Path(saver.last_ckpt or '').name == saver.filename_tmpl.format(done)

    def _place(self) -> tuple[str, str] | tuple[()]:
        """The checkpoint hook's folder for this work dir, and the names of its files."""
        saver = self.saver
        return () if saver is None else (str(saver.out_dir).rpartition('/')[0], saver.filename_tmpl)

    def _leave(self, runner: Runner) -> None:
        for path, content in (self.held or {}).items():
            write_whole(path, content)
            write_whole(Path(runner.work_dir, POINTER), path.encode())
        if is_main_process():
            found = find_checkpoints(runner.work_dir, *self._place())
            where = f'--resume goes on from {found[0]}' if found else 'no epoch is complete, --resume begins anew'
            runner.logger.info(f'{signal.Signals(self.agreed).name} at iteration {runner.iter + 1}: {where}.')
        runner.visualizer.close()
        barrier()  # the end of one process may end the others
        self.after_train(runner)
        raise SystemExit(128 + self.agreed)


def _leave_signals_alone(init, worker: int) -> None:
    """Ignore signals in a worker: they often go to all processes of a job, but data must come until the run ends.

    SIGTERM is also how a process ends its workers, so the sender matters.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if init is not None:
        init(worker)


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
