"""Options of the methods, as a user gives them."""

from typing import Any

from mmkd.errors import UserError


def check_taught(gamma: float, alpha: float) -> None:
    """Raise an error for weights that leave the student's own head without a loss."""
    if not gamma and not alpha:
        raise UserError("model.gamma and model.alpha: both are 0, so nothing teaches the student's head; raise one.")


def check_dict(key: str, value: Any) -> dict:
    """A dict as it is, or an error."""
    if not isinstance(value, dict):
        raise UserError(f'{key}: it must be a dict, not {value!r}.')
    return value
