"""Hooks: one a file."""

from mmkd.hooks.checkpoint import SafeCheckpointHook
from mmkd.hooks.stage_schedule import StageScheduleHook

__all__ = ['SafeCheckpointHook', 'StageScheduleHook']
