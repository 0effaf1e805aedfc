"""What every training gets without asking: hooks that keep its work safe, and one sentence where it ends early."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmkd.errors import UserError

PLAIN = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)  # lazy configs name the class


def add_safety_hooks(cfg: Config) -> None:
    """mmkd's hooks in the place of mmengine's own; a hook of the user's is left alone."""
    hooks = dict(cfg.get('default_hooks') or {})
    checkpoint = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))  # mmengine's default; None: no hook
    if checkpoint is not None and checkpoint.get('type') in PLAIN:
        hooks['checkpoint'] = dict(checkpoint, type='mmkd.SafeCheckpointHook')
    hooks.setdefault('preemption', dict(type='mmkd.PreemptionHook'))
    if hooks['preemption'] is None:  # mmengine knows None for its own hooks only
        hooks.pop('preemption')
    cfg.default_hooks = hooks


@contextmanager
def explain_dead_workers() -> Iterator[None]:
    """Torch tells of a dead worker wherever the run happens to be, with a traceback that points nowhere."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith('DataLoader worker'):
            raise
        raise UserError(
            f'train_dataloader.num_workers: {str(error).strip()} As a rule memory ran out: use fewer workers, or give '
            'the job more memory (/dev/shm counts), then go on with --resume.'
        ) from error
