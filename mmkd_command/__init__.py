"""The command ``mmkd``, outside of the package mmkd: it starts fast, and also where mmkd cannot be imported."""

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext mmkd_command`` gives a notebook the command as ``%mmkd``."""
    from mmkd_command.notebook import magic

    shell.register_magic_function(magic, 'line', 'mmkd')
