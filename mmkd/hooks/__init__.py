"""Hooks: one a file."""

from mmkd.hooks.checkpoint import SafeCheckpointHook
from mmkd.hooks.preemption import PreemptionHook
from mmkd.hooks.profile import ProfileHook
from mmkd.hooks.stage_schedule import StageScheduleHook

__all__ = ['PreemptionHook', 'ProfileHook', 'SafeCheckpointHook', 'StageScheduleHook']
