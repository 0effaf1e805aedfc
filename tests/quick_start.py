"""Small trainings begin sooner without what mmengine does at the start for its log, or each time anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from unittest.mock import patch

remembered = cache(cache)  # a function's results are kept from one use of quick_start to the next


@contextmanager
def quick_start() -> Iterator[None]:
    """Leave configs as they are in the log, collect no garbage, and ask for machine and metafiles once.

    To lay out configs takes three quarters of a small training's time, and garbage is collected for each data set. For
    each Runner, mmengine starts compilers to ask for their versions; for each config that inherits from a toolbox, it
    reads all of that toolbox's metafiles.
    """
    from mmengine.config import utils
    from mmengine.runner import runner

    with (
        patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)),
        patch('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0)),
        patch.object(runner, 'collect_env', remembered(runner.collect_env)),
        patch.object(utils, '_get_cfg_metainfo', remembered(utils._get_cfg_metainfo)),
    ):
        yield
