"""The student alone in as many core-seconds as a method took: the second comparison."""

from collections.abc import Callable, Sequence
from statistics import mean

from arena import Row
from results import FINISHED

NEARLY = 0.9  # core-seconds of one training differ by a tenth
LENGTH = 'train_cfg.', 'param_scheduler', 'default_hooks.'  # where options begin that say how long a training is
Results = Callable[[str], Sequence[dict]]  # of a row, by its key


def against_as_costly(row: Row, lengths: Sequence[Row], of: Results, factor: float) -> str:
    """A method's figure against that one; in brackets how many times as many core-seconds that took, if it matters.

    It matters if they are more, or if fewer were enough to be ahead of the method.
    """
    equal = as_costly(row, lengths, of, factor)
    if equal is None:
        return ''
    figure, times = equal
    difference = _figure(of(row.key), factor) - figure
    matters = times > 1 / NEARLY or (times < NEARLY and difference < 0)
    return f'{difference:+.1f} ({times:.1f} times)' if matters else f'{difference:+.1f}'


def as_costly(row: Row, lengths: Sequence[Row], of: Results, factor: float) -> tuple[float, float] | None:
    """The best figure of the student alone in as many core-seconds, and how many times as many that took.

    Its lengths that cost up to as many count, to a tenth. Where none of them costs as many, the next longer one counts
    too, however much more it costs: that favours the student alone. Where it never trained for so long, its best
    figure counts if it is ahead of the method's; else there is no comparison, and None is returned.

    The cost of a row is that of its cheapest seed: a machine that was slower for a while cannot make it less.

    Args:
        row: A method's.
        lengths: The rows of the student alone, for different lengths.
        of: The results of a row.
        factor: What a figure is multiplied by.
    """
    costs = {each.key: cost(of(each.key)) for each in lengths}
    alone = {key: spent for key, spent in costs.items() if spent is not None}
    spent = cost(of(row.key))
    if row.teacher is None or spent is None or not alone:
        return None
    enough = min((each for each in alone.values() if each >= NEARLY * spent), default=None)
    most = max(enough or 0, spent / NEARLY)
    reached = [(_figure(of(key), factor), each / spent) for key, each in alone.items() if each <= most]
    best = max(reached, key=lambda each: (each[0], -each[1]))
    return best if enough or best[0] > _figure(of(row.key), factor) else None


def lengths_of(alone: Row, rows: Sequence[Row]) -> list[Row]:
    """The student alone, and the rows that differ from it in their length only."""
    return [
        row
        for row in rows
        if row.teacher is None and row.config == alone.config and _but_length(row) == _but_length(alone)
    ]


def cost(results: Sequence[dict]) -> float | None:
    """The core-seconds of the cheapest seed, if one is known."""
    known = [each['core_seconds'] for each in results if each['state'] == FINISHED and each.get('core_seconds')]
    return min(known, default=None)


def _but_length(row: Row) -> dict[str, object]:
    return {key: value for key, value in row.options.items() if not key.startswith(LENGTH)}


def _figure(results: Sequence[dict], factor: float) -> float:
    return mean(factor * each['last'] for each in results if each['state'] == FINISHED)
