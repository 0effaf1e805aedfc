"""Lists methods and losses."""

from argparse import ArgumentParser
from collections.abc import Iterable

from mmkd_command.docstrings import package, registered


def main() -> None:
    """List them."""
    ArgumentParser(description='List the methods and the losses that a config can name.').parse_args()
    folder = package()
    print('Methods, for model.type:')
    _show(registered(folder / 'distillers'))
    print('\nLosses, for the options of methods:')
    _show(registered(folder / 'losses'))


def _show(found: Iterable[tuple[str, str]]) -> None:
    for name, sentence in found:
        print(f'  mmkd.{name}\n      {sentence}')
