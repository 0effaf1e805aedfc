"""Distillation losses, independent of any model."""

from mmkd.losses.class_scores import ClassScoreLoss, ClassScores
from mmkd.losses.feature_mimic import FeatureMimicLoss
from mmkd.losses.pkd import PKDLoss
from mmkd.losses.soft_target import SoftTargetLoss

__all__ = ['ClassScoreLoss', 'ClassScores', 'FeatureMimicLoss', 'PKDLoss', 'SoftTargetLoss']
