"""Checkpoints that survive an interrupted write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from unittest.mock import patch

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmkd.checkpoints.atomic_files import atomic_saves, check_name, remove_partial, write_whole
from mmkd.checkpoints.resume import INTERRUPTED, POINTER, check_named, check_template, choose_whole, find_checkpoints
from mmkd.errors import UserError
from mmkd.registry import HOOKS
from mmkd.utils.first_process import in_first_process


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's hook, in a safer order: save a whole file, then point at it, then remove older ones.

    So there is a good checkpoint at every moment, and no half-written file has a checkpoint's name. A run resumes from
    the last undamaged one. Files that are not on a local disk are written as mmengine does. ``tools/train.py`` puts it
    in the place of ``CheckpointHook``; its arguments are the same.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='mmkd.SafeCheckpointHook', interval=1, max_keep_ckpts=3))
    """

    def before_run(self, runner: Runner) -> None:
        """Check the numbers; find a whole checkpoint to resume from: the first process looks, all of them use it."""
        for name in ('interval', 'max_keep_ckpts'):
            if not isinstance(value := getattr(self, name), int | float):
                raise UserError(f'default_hooks.checkpoint.{name}: it must be a number, not {value!r}.')
        if not runner._resume:
            return
        runner._load_from = in_first_process(lambda: self._resume_point(runner))

    def before_train(self, runner: Runner) -> None:
        """Remove partial files of a killed run, and check that checkpoint names are valid."""
        check_template(self.filename_tmpl)
        super().before_train(runner)
        self._stay_here()
        if is_main_process():
            remove_partial(runner.work_dir)
            if isinstance(self.file_backend, LocalBackend):
                remove_partial(self.out_dir)
                last = self.filename_tmpl.format(runner.max_epochs if self.by_epoch else runner.max_iters)
                bests = [key for key in getattr(self, 'key_indicators', ()) if key != 'auto']
                for name in (last, *(f'best_{key}_{last}'.replace('/', '_') for key in bests)):
                    check_name(Path(self.out_dir, name))

    def after_train(self, runner: Runner) -> None:
        """Publish whole files."""
        with atomic_saves():
            super().after_train(runner)

    def _stay_here(self) -> None:
        """In a copied work dir, replace the best checkpoint of the copy, not of the original."""

        def here(path: str | None) -> str | None:
            return path and self.file_backend.join_path(self.out_dir, PurePath(path).name)

        self.best_ckpt_path = here(getattr(self, 'best_ckpt_path', None))
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = here(path)

    def _resume_point(self, runner: Runner) -> str | None:
        if runner._load_from is not None:
            check_named(runner._load_from)
            return runner._load_from
        checkpoints = find_checkpoints(runner.work_dir, self.out_dir, self.filename_tmpl)
        if not checkpoints:
            return None
        chosen, damaged = choose_whole(checkpoints)
        if damaged:
            runner.logger.warning(f'Damaged or gone: {", ".join(damaged)}. The run goes on from {chosen}.')
        return chosen

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, then point, then prune; mmengine's hook prunes first."""
        pruned = None
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:  # a new best score saves a step again
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                pruned = self._path(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with atomic_saves():
            runner.save_checkpoint(
                self.out_dir,
                self.filename_tmpl.format(step),
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
        if is_main_process():
            write_whole(Path(runner.work_dir, POINTER), str(self.last_ckpt).encode())
            Path(runner.work_dir, INTERRUPTED).unlink(missing_ok=True)  # the run has passed this state
            if pruned not in (None, self.last_ckpt) and self.file_backend.exists(pruned):
                folder = self.file_backend.isdir(pruned)  # deepspeed's checkpoints are folders
                (self.file_backend.rmtree if folder else self.file_backend.remove)(pruned)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Keep the old best checkpoint until the new one is complete."""
        with atomic_saves(), self._removals_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removals_last(self) -> Iterator[None]:
        """Delay all removals until the end of the block, and skip files that were written anew."""
        doomed: list[str] = []
        with patch.object(self.file_backend, 'remove', doomed.append):
            yield
        new = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in doomed:
            if path not in new:
                self.file_backend.remove(path)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
