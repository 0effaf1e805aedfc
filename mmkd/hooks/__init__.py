"""Hooks: one a file."""

from mmkd.hooks.stage_schedule import StageScheduleHook

__all__ = ['StageScheduleHook']
