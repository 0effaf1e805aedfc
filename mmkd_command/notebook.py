"""The command in a notebook: ``%mmkd train my.py --log short``, in the notebook's own process."""

import shlex
import signal
import sys
from unittest.mock import patch

from IPython.core.error import UsageError

from mmkd_command.main import main


def magic(line: str) -> None:
    """Run ``mmkd`` with these arguments; a mistake stops the notebook with its sentence."""
    pipes = signal.getsignal(signal.SIGPIPE)
    with patch.object(sys, 'argv', ['mmkd', *shlex.split(line)]):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise UsageError(str(end.code).removeprefix('error: ')) from None
        finally:  # a list changes this, and then a broken pipe would end the notebook's process
            signal.signal(signal.SIGPIPE, pipes)
