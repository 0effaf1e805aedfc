"""The modules of tools/ in this process: folders there have modules of one name."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / 'tools'


@contextmanager
def tool_modules(*folders: str) -> Iterator[None]:
    """Import from folders of tools/, the last one first; forget in the end what was imported from tools/.

    Args:
        folders: Below tools/.
    """
    modules, path = set(sys.modules), sys.path.copy()
    sys.path[:0] = [str(TOOLS / folder) for folder in reversed(folders)]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], '__file__', '')).startswith(str(TOOLS)):
                del sys.modules[name]
