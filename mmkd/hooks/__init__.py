"""Hooks: one a file."""

from mmkd.hooks.checkpoint import SafeCheckpointHook
from mmkd.hooks.feature_cache import FeatureCacheHook
from mmkd.hooks.preemption import PreemptionHook
from mmkd.hooks.profile import ProfileHook
from mmkd.hooks.stage_schedule import StageScheduleHook

__all__ = ['FeatureCacheHook', 'PreemptionHook', 'ProfileHook', 'SafeCheckpointHook', 'StageScheduleHook']
