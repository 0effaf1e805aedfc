"""Checks of numbers that a user gives."""

import math

from mmkd.errors import UserError


def is_number(value: object) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_weight(key: str, value: float, most: float = math.inf) -> float:
    """A weight or share as it is, or an error."""
    if not is_number(value) or not 0 <= value <= most or value == math.inf:
        limits = 'a finite number of 0 or more' if most == math.inf else f'a number from 0 to {most:g}'
        raise UserError(f'{key} must be {limits}, not {value!r}.')
    return value
