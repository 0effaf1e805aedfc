"""What a training gets of mmkd by itself: schedule, safe checkpoints, leaving at signals, an axis in the Visualizer."""

from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.visualization import MLflowVisBackend, WandbVisBackend

from mmkd.distillers.base import Distiller
from mmkd.errors import UserError
from mmkd.hooks import StageScheduleHook
from mmkd.registry import MODELS
from mmkd.utils.signatures import bare_name

SCHEDULE = dict(type='mmkd.StageScheduleHook')
PLAIN = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)  # lazy configs name the class
LOGGERS = ('LoggerHook', 'mmengine.LoggerHook', LoggerHook)
BACKENDS = {  # which forget the iteration
    kind: f'mmkd.{backend.__name__}'
    for backend in (WandbVisBackend, MLflowVisBackend)
    for kind in (backend, backend.__name__, f'mmengine.{backend.__name__}')
}


def add_schedule(cfg: Config) -> None:
    """Add the schedule's hook to a distiller's config as ``default_hooks.stages``, unless there is one."""
    hooks = cfg.get('default_hooks') or {}
    if not isinstance(hooks, dict) or not _is_distiller(cfg.model):
        return
    others = [hook for key, hook in hooks.items() if key != 'stages']
    if any(map(is_schedule, [*others, *(cfg.get('custom_hooks') or ())])):
        return
    stages = hooks.get('stages') or {}
    if isinstance(stages, dict):
        cfg.default_hooks = {**hooks, 'stages': {**SCHEDULE, **stages}}


def add_safe_hooks(cfg: Config) -> None:
    """Replace mmengine's default hooks by mmkd's; the user's own hooks stay."""
    hooks = cfg.get('default_hooks') or {}
    if not isinstance(hooks, dict):
        raise UserError(f'default_hooks: it must be a dict, not {hooks!r}.')
    hooks = dict(hooks)
    checkpoint = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))  # mmengine's default; None: no hook
    if isinstance(checkpoint, dict) and checkpoint.get('type') in PLAIN:
        hooks['checkpoint'] = dict(checkpoint, type='mmkd.SafeCheckpointHook')
    logger = hooks.get('logger', dict(type='LoggerHook'))
    if isinstance(logger, dict) and logger.get('type') in LOGGERS:  # else metrics are drawn over epochs, losses not
        hooks['logger'] = dict(dict(log_metric_by_epoch=False), **logger)
    hooks.setdefault('preemption', dict(type='mmkd.PreemptionHook'))
    if hooks['preemption'] is None:  # mmengine knows None for its own hooks only
        hooks.pop('preemption')
    cfg.default_hooks = hooks


def add_backends(cfg: Config) -> None:
    """Replace the Visualizer's backends that would draw scalars over the number of calls."""
    visualizer = cfg.get('visualizer') or {}
    for backend in visualizer.get('vis_backends') or ():
        if isinstance(backend, dict) and (ours := BACKENDS.get(backend.get('type'))):
            backend['type'] = ours


def is_schedule(hook: Any) -> bool:
    """Whether a hook in a config is the schedule's: by its name, or by its class as in lazy configs."""
    kind = hook.get('type') if isinstance(hook, dict) else None
    return bare_name(kind) == StageScheduleHook.__name__


def _is_distiller(model: dict) -> bool:
    """Whether a model in a config is one of mmkd's distillers, or one that a user made of them."""
    kind = model.get('type')
    if 'student' in model and isinstance(kind, str):
        kind = MODELS.get(kind)
    return isinstance(kind, type) and issubclass(kind, Distiller)
