"""InsightFace's RecordIO files, read without mxnet.

A ``.rec`` file is a row of records. Each is a magic number, the length of its content (29 bits, and 3 that say whether
it is a whole, or the beginning, middle or end of one that held the magic number itself), the content and zeros up to a
multiple of four bytes. The ``.idx`` file has a line for each record: its key, and its place in the other file.

A content is a header (flag, label, id, id2), ``flag`` more labels as floats, and the image. Record 0 holds two numbers:
the first key after the images, and the first after the identities, whose records hold the range of their images' keys.
"""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.errors import UserError

MAGIC = 0xCED7230A
_FRAME = struct.Struct('<II')
_HEADER = struct.Struct('<IfQQ')
_WHOLE, _BEGIN, _MIDDLE, _END = range(4)


class RecordFile:
    """The images of a ``.rec`` file. It may be read by several processes that were forked from one.

    Args:
        path: The ``.rec`` file; the ``.idx`` file lies beside it.
    """

    def __init__(self, path: Path):
        self.path = path
        index = path.with_suffix('.idx')
        for file in (path, index):
            if not file.is_file():
                raise UserError(f'FaceRecords: {file} does not exist; a .rec file and its .idx file lie side by side.')
        try:
            rows: Any = np.array(index.read_text().split(), np.int64).reshape(-1, 2)
        except ValueError as error:
            raise UserError(f'FaceRecords: {index} is no list of keys and places; get it again.') from error
        if not len(rows):
            raise UserError(f'FaceRecords: {index} is empty; get it again.')
        self.places: dict[int, int] = dict(rows.tolist())
        self.descriptor = os.open(path, os.O_RDONLY)
        self.keys, self.ranges = self._images()

    def __del__(self) -> None:
        if hasattr(self, 'descriptor'):
            os.close(self.descriptor)

    def __deepcopy__(self, memo: dict) -> 'RecordFile':
        return self

    def __reduce__(self) -> tuple:
        return RecordFile, (self.path,)

    def _images(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """The keys of images, and the range of each identity's; without a record 0 that says so, all are images."""
        keys = np.array(sorted(self.places))
        labels, image = self._labels_and_rest(int(keys[0]))
        if keys[0] != 0 or len(labels) != 2 or image:
            return keys, []
        first, last = (int(label) for label in labels)
        ranges = []
        for key in range(first, last):
            if key not in self.places:
                raise self._damaged(f'the identity {key} of {first} to {last - 1} is not in the .idx file')
            its, _ = self._labels_and_rest(key)
            if len(its) != 2:
                raise self._damaged(f'record {key} is not an identity')
            ranges.append((int(its[0]), int(its[1])))
        return keys[(keys > 0) & (keys < first)], ranges

    def labels(self) -> np.ndarray:
        """Of each image. Where identities name their images, none is read but the first of some, to compare."""
        if self.ranges:
            labels = np.full(len(self.keys), -1)
            for label, (first, last) in enumerate(self.ranges):
                labels[np.searchsorted(self.keys, first) : np.searchsorted(self.keys, last)] = label
            some = np.unique(np.linspace(0, len(self.keys) - 1, 100).astype(int))
            if labels.min() >= 0 and all(self._label(self.keys[row]) == labels[row] for row in some):
                return labels
        return np.array([self._label(key) for key in self.keys])

    def image(self, row: int) -> bytes:
        """The bytes of an image's file."""
        return self._labels_and_rest(int(self.keys[row]))[1]

    def _label(self, key: int) -> int:
        head = self._read(self.places[int(key)], _FRAME.size + _HEADER.size + 4)
        flag, label = struct.unpack_from('<If', head, _FRAME.size)
        return int(struct.unpack_from('<f', head, _FRAME.size + _HEADER.size)[0] if flag else label)

    def _labels_and_rest(self, key: int) -> tuple[tuple[float, ...], bytes]:
        content = self._content(key)
        if len(content) < _HEADER.size:
            raise self._damaged(f'record {key} has no header')
        flag, label, _, _ = _HEADER.unpack_from(content)
        end = _HEADER.size + 4 * flag
        if len(content) < end:
            raise self._damaged(f'record {key} has fewer labels than its header says')
        return struct.unpack_from(f'<{flag}f', content, _HEADER.size) if flag else (label,), content[end:]

    def _content(self, key: int) -> bytes:
        """A record, put together again if it was cut at the magic number."""
        place = self.places[key]
        parts: list[bytes] = []
        while True:
            magic, word = _FRAME.unpack(self._read(place, _FRAME.size))
            kind, length = word >> 29, word & ((1 << 29) - 1)
            if magic != MAGIC or kind not in ((_MIDDLE, _END) if parts else (_WHOLE, _BEGIN)):
                raise self._damaged(f'at byte {place} no record begins')
            parts.append(self._read(place + _FRAME.size, length))
            if kind in (_WHOLE, _END):
                return struct.pack('<I', MAGIC).join(parts)
            place += _FRAME.size + length  # a record is cut at multiples of four bytes only

    def _read(self, place: int, length: int) -> bytes:
        data = os.pread(self.descriptor, length, place)
        if len(data) < length:
            raise self._damaged(f'it ends before byte {place + length}')
        return data

    def _damaged(self, why: str) -> UserError:
        return UserError(f'FaceRecords: {self.path} is damaged or does not belong to its .idx file: {why}.')
