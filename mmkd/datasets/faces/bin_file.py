"""InsightFace's ``.bin`` files of pairs: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW."""

import io
import pickle
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.datasets.faces.pairs import RATES
from mmkd.datasets.faces.rows import ProtocolImages, decoded
from mmkd.errors import UserError, in_one_line
from mmkd.evaluation import Pairs, Protocol
from mmkd.registry import DATASETS

_STRINGS = {'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'}
_NUMBERS = {'INT', 'BININT', 'BININT1', 'BININT2', 'NEWTRUE', 'NEWFALSE'}
_LISTS = {'MARK', 'LIST', 'EMPTY_LIST', 'APPEND', 'APPENDS', 'TUPLE', 'TUPLE2', 'EMPTY_TUPLE'}
_MEMO = {'PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE', 'GET', 'BINGET', 'LONG_BINGET'}
PLAIN = {*_STRINGS, *_NUMBERS, *_LISTS, *_MEMO, 'PROTO', 'FRAME', 'STOP'}
"""All that a pickle of bytes, booleans, lists and tuples says. None of it can name a class or call anything."""


class _NoObjects(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'{module}.{name}')


def read_pickle(path: Path) -> Any:
    """The bytes, booleans, lists and tuples in a pickle of Python 2 or 3; one with anything else is refused unread."""
    if not path.is_file():
        raise UserError(f'FaceBin: {path} does not exist; set ann_file to where it is.')
    data = path.read_bytes()
    try:
        for step, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if operation.name not in PLAIN:
                what = f' ({" ".join(argument.split())})' if isinstance(argument, str) else ''
                raise UserError(
                    f'FaceBin: {path} would build objects{what}, and a file of pairs holds nothing but the bytes of '
                    'images and booleans; it was not read any further. Get the file from elsewhere.'
                )
            if operation.name in _MEMO and isinstance(argument, int) and argument > step:
                raise ValueError(f'place {argument} of its memo')  # it would be as large
        return _NoObjects(io.BytesIO(data), encoding='bytes').load()
    except (ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(
            f'FaceBin: {path} is damaged or no pickle ({in_one_line(error)}); get the file again.'
        ) from error


@DATASETS.register_module()
class FaceBin(ProtocolImages):
    """Pairs in an InsightFace ``.bin`` file: images as the bytes of JPEG files, and whether each pair is one person.

    ``img`` goes to the pipeline, in BGR, so it begins behind the loading.

    Args:
        ann_file (str): The file, below ``data_root`` if that is given.
        folds (int): How many parts the pairs are cut into for the accuracy. Defaults to 10.
        rates (Sequence[float]): The FARs at which the TAR is given. Defaults to (1e-3, 1e-4).
        **kwargs: As in :class:`mmengine.dataset.BaseDataset` (``pipeline``, ``metainfo``, ...).

    Example:
        >>> dict(type='mmkd.FaceBin', ann_file='data/faces/lfw.bin', pipeline=[dict(type='PackInputs')])
    """

    def __init__(self, ann_file: str, folds: int = 10, rates: Sequence[float] = RATES, **kwargs):
        self.folds, self.rates = folds, rates
        super().__init__(ann_file=ann_file, **kwargs)

    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """The images' places in one row of bytes."""
        content = read_pickle(Path(self.ann_file).expanduser())
        where = f'FaceBin: {self.ann_file}'
        if not isinstance(content, tuple | list) or len(content) != 2 or not all(isinstance(x, list) for x in content):
            raise UserError(f'{where} is no pair of lists, of images and of booleans; get the file again.')
        images, same = content
        if not all(isinstance(image, bytes) for image in images) or not all(one in (0, 1) for one in same):
            raise UserError(f'{where} holds something besides the bytes of images and booleans; get the file again.')
        if len(images) != 2 * len(same) or not same:
            raise UserError(
                f'{where} holds {len(images):,} images for {len(same):,} pairs, and a pair has two; get the file again.'
            )
        self.data, self.ends = np.frombuffer(b''.join(images), np.uint8), np.cumsum([0, *map(len, images)])
        first = np.arange(0, len(images), 2)
        protocol = Pairs(first, first + 1, np.array(same, bool), self.folds, self.rates)
        return [dict(place=place) for place in range(len(images))], protocol

    def get_data_info(self, idx: int) -> dict:
        """The image, decoded."""
        info = super().get_data_info(idx)
        place = info['place']
        data = self.data[self.ends[place] : self.ends[place + 1]].tobytes()
        image = decoded(data, f'FaceBin: {self.ann_file}, image {place}')
        return dict(info, img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
