"""The command in a notebook: ``%mmkd train my.py --log short``, in the notebook's own process."""

import shlex
import signal
import sys
from unittest.mock import patch

from IPython.core.error import UsageError

from mmkd_command.main import main

CHANGED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE)  # by trainings that fail, and by lists


def magic(line: str) -> None:
    """Run ``mmkd`` with these arguments; a mistake stops the notebook with its sentence."""
    before = {number: signal.getsignal(number) for number in CHANGED}
    with patch.object(sys, 'argv', ['mmkd', *shlex.split(line)]):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise UsageError(str(end.code).removeprefix('error: ')) from None
        finally:  # the notebook's process goes on
            for number, handler in before.items():
                if handler is not None:  # then it is not Python's
                    signal.signal(number, handler)
