"""The results of an arena: a file with a line a training; of those of one name the last one counts, once it is over."""

import json
import re
from pathlib import Path

from lines import Lines

CPU = 'cpu'
FINISHED, CUT, DIVERGED, FAILED = 'finished', 'cut', 'diverged', 'FAILED'  # how a training went
OVER = FINISHED, DIVERGED


class Results(Lines):
    """Lines that can be read again."""

    def read(self) -> dict[str, dict]:
        """The last line of every name: what is cut or fails takes the place of no result."""
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        found: dict[str, dict] = {}
        for row in map(json.loads, lines):
            if row['state'] in OVER or found.get(row['name'], row)['state'] not in OVER:
                found[row['name']] = row
        return found


def file_of(folder: Path, device: str, arena: str) -> Path:
    """Where the results of an arena on a device are: a folder for each kind of machine."""
    machine = CPU if device.startswith('CPU') else re.sub(r'[^a-z0-9]+', '-', device.lower())
    return folder / machine / f'{arena}.jsonl'
