from functools import partial

import pytest


@pytest.fixture
def compare(mmkd):
    """Run ``mmkd compare``."""
    return partial(mmkd, 'compare')
