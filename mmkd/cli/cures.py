"""Clearer errors, with a fix, for known errors of other libraries in building the config or in the data."""

import re
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType

from mmengine.registry import build_functions
from mmengine.runner import Runner, ValLoop
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from mmkd.cli.class_checks import dicts_in, no_such_argument, no_such_class
from mmkd.errors import UserError, in_one_line
from mmkd.utils.signatures import parameters_of

OF_THE_MACHINE = ('allocate memory', 'out of memory', 'too many open files', 'no space left', 'input/output error')
"""Errors that no image causes."""
SPLITS = {'build_val_loop': 'val', 'build_test_loop': 'test', 'test': 'test'}
"""Whose data these methods of the Runner use."""


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Frames from the innermost to the outermost; the cause's frames come first."""
    before = error.__cause__ or error.__context__
    if before is not None:
        yield from frames_of(before)
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        yield frame


def split_of(frames: Iterable[FrameType]) -> str:
    """Whose data and evaluator were built or used: those of ``'val'``, of ``'test'``, or of ``'train'``."""
    for frame in frames:
        part = frame.f_locals.get('self')
        if isinstance(part, ValLoop):
            return 'val'
        if isinstance(part, Runner) and frame.f_code.co_name in SPLITS:
            return SPLITS[frame.f_code.co_name]
    return 'train'


def key_of(error: UserError, cfg: dict) -> str:
    """The config key of a class whose construction failed: only the class's name is known."""
    for frame in frames_of(error):
        if frame.f_code is build_functions.build_from_cfg.__code__:
            kind = getattr(frame.f_locals.get('obj_cls'), '__name__', '')
            return find_part(cfg, frame.f_locals['cfg']) if str(error).startswith(f'{kind}: ') else ''
    return ''


def raise_for_data(error: BaseException) -> None:
    """Raise a clearer error for a batch of data that breaks the run."""
    if 'Expected more than 1 value per channel' in str(error):
        raise UserError(
            'train_dataloader: a batch of one image reached a batch norm, which needs two; set drop_last=True there, '
            'or a batch_size that leaves no single image over.'
        ) from error
    frames = list(frames_of(error))
    of_worker = 'in DataLoader worker process' in str(error)
    of_data = of_worker or any(frame.f_code is _MapDatasetFetcher.fetch.__code__ for frame in frames)
    if not of_data or isinstance(error, MemoryError) or any(cause in str(error).lower() for cause in OF_THE_MACHINE):
        return
    reason = str(error).strip().rpartition('\n')[2] if of_worker else in_one_line(error)
    images = [frame.f_locals['results'] for frame in frames if isinstance(frame.f_locals.get('results'), dict)]
    path = str(images[0].get('img_path', '')) if images else ''
    raise UserError(
        f'{split_of(frames)}_dataloader.dataset: an image cannot be loaded{f", {path}" * bool(path)} ({reason}); put a '
        'good copy in its place, take it out of the data, or fix the pipeline.'
    ) from error


def raise_for_class(path: str, error: BaseException, building: dict) -> None:
    """Raise a clearer error than mmengine's for a part that could not be built."""
    said, kind = str(error), building.get('obj_cls')
    if isinstance(error, KeyError) and 'must contain the key "type"' in said:
        raise UserError(f'{path}: it has no type; name the class to build.') from error
    if isinstance(error, KeyError) and 'obj_type' in building and kind is None:
        raise UserError(no_such_class(path, building['obj_type'], [building['registry']])) from error
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", said)
    if unexpected and kind is not None and unexpected[1] in set(building['args']) - parameters_of(kind).keys():
        raise UserError(no_such_argument(path, kind, unexpected[1])) from error
    if isinstance(error, ImportError):
        raise UserError(f'{path}: {in_one_line(error)}.') from error


def find_part(cfg: dict, part: dict) -> str:
    """The key of a part in the config: the best match, since toolboxes add and remove keys."""
    best = 0.0, ''
    for path, inner in dicts_in(cfg, ''):
        if 'type' not in inner or repr(inner['type']) == repr(part.get('type')):  # toolboxes add types
            agreement = sum(repr(part.get(key)) == repr(value) for key, value in inner.items()) / (len(inner) + 1)
            best = max(best, (agreement, path), key=lambda pair: pair[0])
    return best[1]
