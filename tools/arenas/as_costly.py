"""The student alone in as many core-seconds as a method took: the second comparison."""

from collections.abc import Mapping, Sequence
from statistics import mean

from arena import Row, Table
from training import FINISHED

NEARLY = 0.9  # core-seconds of one training differ by a tenth


def as_costly(table: Table, row: Row, found: Mapping[str, Sequence[dict]]) -> float | None:
    """The best that the student alone reached in up to as many core-seconds; None if it never trained for so long.

    The cost of a row is that of its cheapest seed: a machine that was slower for a while cannot make it less.

    Args:
        table: Whose rows with the student's own config are the student alone, for different lengths.
        row: A method's.
        found: The results of its rows.
    """
    own = next(each.config for each in table.rows if each.key == table.alone)
    alone = [each.key for each in table.rows if each.config == own and cost(found[each.key])]
    spent = cost(found[row.key])
    if row.teacher is None or spent is None:
        return None
    cheaper, best = sorted(alone, key=lambda key: cost(found[key]) or 0.0), []
    for key in cheaper:
        best.append(mean(result['last'] for result in found[key] if result['state'] == FINISHED))
        if (cost(found[key]) or 0.0) >= NEARLY * spent:
            return max(best)
    return None


def cost(results: Sequence[dict]) -> float | None:
    """The core-seconds of the cheapest seed, if one is known."""
    known = [each['core_seconds'] for each in results if each['state'] == FINISHED and each.get('core_seconds')]
    return min(known, default=None)
