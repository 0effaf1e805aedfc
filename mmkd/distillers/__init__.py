"""Distillers: the models that are trained. One file a method."""

from mmkd.distillers.feature_kd import FeatureKD
from mmkd.distillers.kd import KD
from mmkd.distillers.mhkd import MHKD
from mmkd.distillers.simkd import SimKD
from mmkd.distillers.sskd import SSKD

__all__ = ['KD', 'MHKD', 'SSKD', 'FeatureKD', 'SimKD']
