"""Reads the scalars that mmengine logs, of any length, also while they are being written."""

import json
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar('T')

MOST = 2000  # records of a kind that are kept


class Thinned(Generic[T]):
    """Of a stream's items so many evenly spread ones that there are never more than ``most``, and the last."""

    def __init__(self, most: int = MOST):
        self.most = most
        self.every, self.seen = 1, 0
        self.kept: list[T] = []
        self.last: T | None = None

    def add(self, item: T) -> None:
        """See the next item."""
        self.last = item
        if self.seen % self.every == 0:
            self.kept.append(item)
            if len(self.kept) > self.most:
                del self.kept[1::2]
                self.every *= 2
        self.seen += 1

    @property
    def items(self) -> list[T]:
        """What was kept, in its order."""
        skipped = self.seen and (self.seen - 1) % self.every
        return [*self.kept, self.last] if skipped and self.last is not None else list(self.kept)


def read_scalars(file: Path) -> list[dict]:
    """The records of a file, thinned out by kind, in their order; lines that are not whole are left out."""
    kinds: dict[bytes, Thinned[tuple[int, bytes]]] = {}
    with file.open('rb') as lines:
        for number, line in enumerate(lines):
            # every kind of record has its own first key; the trainings' are told by the learning rate
            kind = b'lr' if b'"lr": ' in line else line[:80].partition(b'"')[2].partition(b'"')[0]
            kinds.setdefault(kind, Thinned()).add((number, line))
    numbered = sorted(pair for kind in kinds.values() for pair in kind.items)
    return [record for _, line in numbered if (record := _parsed(line))]


def _parsed(line: bytes) -> dict | None:
    try:
        record = json.loads(line)
    except ValueError:  # half written, or no record at all
        return None
    return record if isinstance(record, dict) else None
