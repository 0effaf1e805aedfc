"""The student alone in as many core-seconds as a method took: the second comparison."""

from collections.abc import Mapping, Sequence
from statistics import mean

from arena import Row, Table
from results import FINISHED

NEARLY = 0.9  # core-seconds of one training differ by a tenth


def against_as_costly(table: Table, row: Row, found: Mapping[str, Sequence[dict]], factor: float) -> str:
    """A method's figure against that one; in brackets how many times as many core-seconds that took, if more."""
    equal = as_costly(table, row, found, factor)
    if equal is None:
        return ''
    figure, times = equal
    difference = f'{_figure(found[row.key], factor) - figure:+.1f}'
    return f'{difference} ({times:.1f} times)' if times > 1 / NEARLY else difference


def as_costly(table: Table, row: Row, found: Mapping[str, Sequence[dict]], factor: float) -> tuple[float, float] | None:
    """The best figure of the student alone in as many core-seconds, and how many times as many that took.

    Its lengths that cost up to as many count, to a tenth. Where none of them costs as many, the next longer one counts
    too, however much more it costs: that favours the student alone. None if it never trained for so long.

    The cost of a row is that of its cheapest seed: a machine that was slower for a while cannot make it less.

    Args:
        table: Whose rows with the student's own config are the student alone, for different lengths.
        row: A method's.
        found: The results of its rows.
        factor: What a figure is multiplied by.
    """
    own = next(each.config for each in table.rows if each.key == table.alone)
    costs = {each.key: cost(found[each.key]) for each in table.rows if each.config == own}
    alone = {key: spent for key, spent in costs.items() if spent is not None}
    spent = cost(found[row.key])
    if row.teacher is None or spent is None:
        return None
    enough = min((each for each in alone.values() if each >= NEARLY * spent), default=None)
    if enough is None:
        return None
    most = max(enough, spent / NEARLY)
    reached = [(_figure(found[key], factor), each / spent) for key, each in alone.items() if each <= most]
    return max(reached, key=lambda each: (each[0], -each[1]))


def cost(results: Sequence[dict]) -> float | None:
    """The core-seconds of the cheapest seed, if one is known."""
    known = [each['core_seconds'] for each in results if each['state'] == FINISHED and each.get('core_seconds')]
    return min(known, default=None)


def _figure(results: Sequence[dict], factor: float) -> float:
    return mean(factor * each['last'] for each in results if each['state'] == FINISHED)
