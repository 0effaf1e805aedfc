"""Divides the student's own training budget among the stages."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mmkd.errors import UserError

HEAD_SHARE = 0.5  # of the budget, by default; the other stages share the rest equally


def default_fractions(names: Sequence[str], has_head: bool, left_out: int = 0) -> list[float]:
    """Half of the budget for the head, which comes last, and equal parts for the stages before it.

    Args:
        names: The phases, in their order.
        has_head: Whether the last one has the head.
        left_out: Stages without a phase of their own, whose parts go to the last phase.
    """
    if not has_head or len(names) == 1:
        return [1 / len(names)] * len(names)
    before = len(names) - 1
    part = (1 - HEAD_SHARE) / (before + left_out)
    return [part] * before + [1 - before * part]


def split_budget(total: int, names: Sequence[str], fractions: Sequence[float], unit: str) -> list[int]:
    """The length of each stage in epochs or iterations; they sum to ``total``.

    Args:
        total (int): Epochs or iterations that the student's config trains for.
        names (Sequence[str]): The stages to learn, in their order.
        fractions (Sequence[float]): Each stage's part of the budget.
        unit (str): ``'epochs'`` or ``'iterations'``, for messages.
    """
    if len(fractions) != len(names):
        raise UserError(
            f'default_hooks.stages.fractions: {len(fractions)} numbers '
            f'for {len(names)} stages ({", ".join(names)}); give one each.'
        )
    if not min(fractions) > 0:
        raise UserError(f'default_hooks.stages.fractions: each must be above 0, not as in {list(fractions)}.')
    if not abs(sum(fractions) - 1) <= 1e-6:  # NaN is no number either
        raise UserError(f'default_hooks.stages.fractions: {list(fractions)} sum to {sum(fractions):g}, not to 1.')
    lengths = _divide(total, fractions)
    for name, length in zip(names, lengths):
        if length < 1:
            enough = _enough(total, fractions)
            key = 'train_cfg.max_epochs' if unit == 'epochs' else 'train_cfg.max_iters'
            raise UserError(
                f'default_hooks.stages.fractions: {total} {unit} are too few for {len(names)} stages, nothing is left '
                f'for {name}; train longer ({key}{f"={enough} is enough" if enough else ""}), learn fewer stages or '
                'change the fractions.'
            )
    return lengths


def _divide(total: int, fractions: Sequence[float]) -> list[int]:
    ends = [round(part * total) for part in accumulate(fractions)]
    return [end - start for start, end in zip([0, *ends], ends)]


def _enough(total: int, fractions: Sequence[float]) -> int | None:
    """A longer budget that gives each stage at least one unit; None if a fraction is too small."""
    first = max(total + 1, math.ceil(0.5 / min(fractions)))  # in a shorter budget, rounding decides
    return next((longer for longer in range(first, first + 1000) if min(_divide(longer, fractions)) >= 1), None)


def check_lengths(
    total: int, names: Sequence[str], lengths: Sequence[int], unit: str, iterations: int | None = None
) -> list[int]:
    """Lengths that the user gives; arguments as in :func:`split_budget`, and the iterations of as many epochs."""
    key = 'default_hooks.stages.lengths'
    if len(lengths) != len(names):
        raise UserError(f'{key}: {len(lengths)} numbers for {len(names)} stages ({", ".join(names)}); give one each.')
    other = f', or {iterations}, its iterations' if unit == 'epochs' and iterations else ''
    if not all(isinstance(length, int) and length > 0 for length in lengths) or sum(lengths) != total:
        raise UserError(
            f'{key}: {list(lengths)} must be whole numbers above 0 whose sum is {total}, '
            f'the {unit} that the config trains for (train_cfg){other}.'
        )
    return list(lengths)


def check_numbers(key: str, numbers: Any) -> Sequence | None:
    """Return a list of numbers, or raise an error."""
    is_list = isinstance(numbers, list | tuple) and len(numbers) > 0
    if numbers is not None and not (is_list and all(type(number) in (int, float) for number in numbers)):
        raise UserError(f'default_hooks.stages.{key}: it must be a list of numbers, one a stage, not {numbers!r}.')
    return numbers
