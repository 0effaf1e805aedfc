"""Explains in one sentence how the machine ended a run: a dead worker, a full disk."""

import errno
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import TypeGuard
from unittest.mock import patch

from mmkd.cli.cures import frames_of, split_of
from mmkd.errors import UserError


@contextmanager
def explain_dead_workers(again: str) -> Iterator[None]:
    """Explain a dead worker, which torch reports with an unrelated traceback.

    Args:
        again: How to go on.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not _from_a_worker(error):
            raise
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would raise for the same worker again, anywhere
        key = f'{split_of(frames_of(error))}_dataloader.num_workers'
        raise UserError(
            f'{key}: a data loader worker died ({str(error).strip(" .")}), '
            'usually because memory ran out; use fewer workers or give the job more memory (/dev/shm counts), then '
            f'{again}.'
        ) from error


@contextmanager
def explain_full_disk(work_dir: str, cure: str) -> Iterator[None]:
    """Explain a full disk; without this Python prints a traceback for each log line.

    Args:
        work_dir: Where the run writes.
        cure: What to do unless there is room.
    """
    print_traceback = logging.Handler.handleError
    told: list[str] = []

    def handle_error(handler: logging.Handler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not _is_full(error):
            print_traceback(handler, record)
        elif not told:
            told.append(f'The log in {work_dir} cannot be written ({error.strerror}).')
            print(*told, file=sys.stderr)

    with patch.object(logging.Handler, 'handleError', handle_error):
        try:
            yield
        except OSError as error:
            if not _is_full(error):
                raise
            raise UserError(
                f'work_dir: {error.filename or work_dir} cannot be written ({error.strerror}); make room or {cure}.'
            ) from error


def _is_full(error: BaseException | None) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _from_a_worker(error: Exception) -> bool:
    """Whether torch noticed a dead worker, or its pipe broke first."""
    if isinstance(error, RuntimeError):
        return str(error).startswith('DataLoader worker')
    return any(frame.f_code.co_name == '_try_get_data' for frame, _ in walk_tb(error.__traceback__))
