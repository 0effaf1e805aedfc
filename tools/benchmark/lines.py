"""Results as lines of JSON, each written at once, since a run may be cut off."""

import json
import os
from pathlib import Path


class Lines:
    """A file with one line per result.

    Args:
        path: Of the file.
        shared: What every line says besides.
    """

    def __init__(self, path: Path, shared: dict | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.shared = path, shared or {}

    def add(self, **content: object) -> None:
        """Write a line at once: several processes may write to one file."""
        line = json.dumps({**content, **self.shared}, default=str) + '\n'
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)


def first_line(error: BaseException) -> str:
    """The first line of an error, shortened."""
    return f'{type(error).__name__}: {str(error).strip()}'.splitlines()[0][:300]
