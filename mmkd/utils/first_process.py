"""Work that one process does for all."""

from collections.abc import Callable
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from mmkd.errors import UserError


def in_first_process(act: Callable[[], Any]) -> Any:
    """Run in the first process and share its result or :class:`UserError` with all, so that none waits forever."""
    told: list = [None]
    if is_main_process():
        try:
            told = [act()]
        except UserError as error:
            told = [error]
    broadcast_object_list(told)
    if isinstance(told[0], UserError):
        raise told[0]
    return told[0]
