"""Distillers: the models that are trained. One file a method."""

from mmkd.distillers.sskd import SSKD

__all__ = ['SSKD']
