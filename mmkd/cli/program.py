"""How a program of mmkd ends: normally, at a user's mistake with one sentence, or at a signal."""

import os
import signal
import sys
from collections.abc import Callable

from mmkd.cli.launch import tell_torchrun
from mmkd.compat.cpu_nodes import leave
from mmkd.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run a program to its end and set the exit code; ``MMKD_TRACEBACK=1`` shows the traceback of a mistake."""
    try:
        main()
    except UserError as error:
        if 'MMKD_TRACEBACK' in os.environ:
            raise
        tell_torchrun(f'error: {error}')
        sys.exit(f'error: {error}')
    except SystemExit as left:
        if isinstance(left.code, int) and left.code > 128:  # at a signal: srun ends slower processes,
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # and their exit code would hide this one
            leave(left.code)
        raise
    leave()
