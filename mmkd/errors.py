"""User errors and their messages."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can fix: one sentence with the cause, the place and the fix.

    The tools print it without a traceback and exit with code 1.
    """


def in_one_line(error: BaseException) -> str:
    """The type and first line of another library's error, for use in a sentence."""
    said = str(error).partition('\n')[0]
    said = re.sub(r' in <\S+ object at 0x\w+>', '', said).rstrip('.')  # mmengine adds the hook
    return f'{type(error).__name__}: {said}' if said else type(error).__name__


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``' Did you mean a or b?'`` with the nearest candidates, ``''`` if none is near."""
    names = {name.lower(): name for name in sorted(candidates, reverse=True)}
    near = [names[name] for name in get_close_matches(word.lower(), list(names), n=3, cutoff=0.5)]
    return f' Did you mean {" or ".join(near)}?' if near else ''


def in_current_folder(path: str | Path) -> str:
    """Where a relative path was searched, as a continuation of 'does not exist'; ``''`` for an absolute path."""
    return '' if Path(path).expanduser().is_absolute() else f' in the current folder, {Path.cwd()}'
