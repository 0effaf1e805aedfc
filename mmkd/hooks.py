"""All hooks by name. Each is defined in the room that it serves."""

from mmkd.checkpoints.hook import SafeCheckpointHook
from mmkd.checkpoints.preemption import PreemptionHook
from mmkd.feature_cache.hook import FeatureCacheHook
from mmkd.profiling.hook import ProfileHook
from mmkd.schedule.hook import StageScheduleHook
from mmkd.watching.feature_maps import FeatureMapsHook
from mmkd.watching.similarity import SimilarityHook

__all__ = [
    'FeatureCacheHook',
    'FeatureMapsHook',
    'PreemptionHook',
    'ProfileHook',
    'SafeCheckpointHook',
    'SimilarityHook',
    'StageScheduleHook',
]
