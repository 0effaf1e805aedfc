"""Flags whose values are whole numbers."""

from argparse import Action, ArgumentParser, Namespace
from typing import Any

from mmkd.errors import UserError


class WholeNumber(Action):
    """A whole number, ``least`` or more, ``of`` what it counts; a mistake is told in a sentence."""

    def __init__(self, *args: Any, of: str = '', least: int = 1, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.of = f' of {of}' if of else ''
        self.least = least

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, text: Any, option_string: str | None = None
    ) -> None:
        """Check the number."""
        if not text.isdecimal() or int(text) < self.least:
            raise UserError(f'{option_string}: it must be a whole number{self.of}, {self.least} or more, not {text}.')
        setattr(namespace, self.dest, int(text))
