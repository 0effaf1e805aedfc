"""One training at a time in a folder."""

import contextlib
import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from mmengine.logging import print_log

from mmkd.errors import UserError

NAME = '.mmkd-lock'
PATIENCE = 5.0  # seconds; a process that was just killed may still hold the lock
TAKEN = (errno.EACCES, errno.EAGAIN)  # another process holds the lock; other errors come from the file system


def hold(folder: str | Path, key: str, cure: str) -> None:
    """Lock a folder until the process ends; the kernel then releases the lock, even after a crash.

    The lock belongs to the process (POSIX), so forked data loader workers do not keep it when the process is killed.

    Args:
        folder: Is there, and can be written.
        key: Where the config names it.
        cure: What to do if another process has it.
    """
    try:
        handle = os.open(Path(folder, NAME), os.O_RDWR | os.O_CREAT, 0o666)  # never closed: that would release the lock
        holder = _lock(handle)
    except OSError as error:
        print_log(
            f'{key}: {folder} cannot be locked ({error.strerror}); make sure that no other training writes there.',
            logger='current',
        )
        return
    if holder is not None:
        os.close(handle)
        raise UserError(f'{key}: another training{holder} is at work in {folder}; {cure}.')
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(handle, 0)
        os.pwrite(handle, f'process {os.getpid()} on {socket.gethostname()}'.encode(), 0)


def _lock(handle: int) -> str | None:
    """None, or what is known of the process that holds the lock."""
    begin = time.monotonic()
    while True:
        try:
            return fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        if time.monotonic() - begin > PATIENCE:
            told = os.pread(handle, 200, 0).decode(errors='replace')
            return f' ({told})' if told.isprintable() and told else ''
        time.sleep(0.2)
