"""The flag ``--cfg-options``: pairs of a key and a value that override a config."""

from argparse import ArgumentParser, Namespace
from typing import Any

from mmengine.config import DictAction

from mmkd.errors import UserError


class KeyValues(DictAction):
    """mmengine's, but a single value keeps its spaces, as paths have them, and mistakes are told in a sentence."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str = '') -> None:
        """Add the pairs to those of the same flag before."""
        found = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, text = pair.partition('=')
            if not key or not equals:
                raise UserError(
                    f'{option_string}: {pair!r} is no KEY=VALUE; write pairs such as optim_wrapper.optimizer.lr=0.1, '
                    'without spaces around the =.'
                )
            try:
                found[key] = self._value(text)
            except AssertionError as error:
                raise UserError(f'{option_string}: the brackets of {pair!r} do not match; fix them.') from error
        setattr(namespace, self.dest, found)

    def _value(self, text: str) -> Any:
        plain = text.strip('\'"')
        is_list = ',' in plain or plain.replace(' ', '').startswith(('[', '('))
        return self._parse_iterable(text) if is_list else self._parse_int_float_bool(plain)
