"""Lets ``mmcv.ops``, and with it all of mmdet, import where mmcv has no compiled ops."""

import importlib.abc
import importlib.util
import sys
from pathlib import Path

_STAND_IN = Path(__file__).with_name('mmcv_ext.py')


class MmcvExtFinder(importlib.abc.MetaPathFinder):
    """Finds mmkd's stand-in for ``mmcv._ext``.

    It stands last on ``sys.meta_path``, so Python asks it only where no compiled ``mmcv._ext``
    exists, and nothing of the stand-in is loaded before a program imports ``mmcv.ops``.
    """

    def find_spec(self, fullname, path=None, target=None):
        """The stand-in's spec for ``mmcv._ext``, None for every other module."""
        if fullname == 'mmcv._ext':
            return importlib.util.spec_from_file_location(fullname, _STAND_IN)
        return None


def offer_stand_in() -> None:
    """Append the finder, once."""
    if not any(isinstance(finder, MmcvExtFinder) for finder in sys.meta_path):
        sys.meta_path.append(MmcvExtFinder())
