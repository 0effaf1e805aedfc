"""The schedule that a distiller gets where its config names none."""

from typing import Any

from mmengine.config import Config

from mmkd.distillers.base import Distiller
from mmkd.hooks import StageScheduleHook
from mmkd.registry import MODELS

SCHEDULE = dict(type='mmkd.StageScheduleHook')


def add_schedule(cfg: Config) -> None:
    """Give a distiller's config the schedule's hook as ``default_hooks.stages``; what is there already stays."""
    hooks = cfg.get('default_hooks') or {}
    if not isinstance(hooks, dict) or not _is_distiller(cfg.model):
        return
    others = [hook for key, hook in hooks.items() if key != 'stages']
    if any(map(is_schedule, [*others, *(cfg.get('custom_hooks') or ())])):
        return
    stages = hooks.get('stages') or {}
    if isinstance(stages, dict):
        cfg.default_hooks = {**hooks, 'stages': {**SCHEDULE, **stages}}


def is_schedule(hook: Any) -> bool:
    """Whether a hook in a config is the schedule's: by its name, or by its class as in lazy configs."""
    kind = hook.get('type') if isinstance(hook, dict) else None
    return str(getattr(kind, '__name__', kind)).rpartition('.')[-1] == StageScheduleHook.__name__


def _is_distiller(model: dict) -> bool:
    """Whether a model in a config is one of mmkd's distillers, or one that a user made of them."""
    kind = model.get('type')
    if 'student' in model and isinstance(kind, str):
        kind = MODELS.get(kind)
    return isinstance(kind, type) and issubclass(kind, Distiller)
