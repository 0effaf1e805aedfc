"""What whole schedules of SSKD take, computed from the iterations of their stages."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

VIEWS, EPOCHS = 4, 20  # of kept features: as many views as by default, and the epochs of the head


def table(rows: Sequence[dict], kept: Sequence[dict]) -> list[str]:
    """How many times faster SSKD is than running everything, by the part of the epochs that the head gets."""
    lines = [
        '| SSKD against running everything | | with `frozen_dtype` | with kept features | with both |',
        '|---|---|---|---|---|',
    ]
    for pair in dict.fromkeys(row['pair'] for row in rows):
        stages = [row for row in rows if row['pair'] == pair and row['method'] == 'SSKD']
        cost = next((cost_of_kept(row['seconds']) for row in kept if row['pair'] == pair), None)
        for title, head in (('equal epochs', 1 / len(stages)), ('half of the epochs for the head', 0.5)):
            everything = seconds(stages, 'run everything', head)
            plain, low = (everything / seconds(stages, who, head) for who in ('mmkd', 'frozen_dtype'))
            cells = [f'{pair}, {title}', f'{plain:.2f}', f'{low:.2f}']
            for who in ('mmkd', 'frozen_dtype'):
                cells.append('-' if cost is None else f'{everything / seconds(stages, who, head, cost):.2f}')
            lines.append(f'| {" | ".join(cells)} |')
    return lines


def seconds(stages: Sequence[dict], who: str, head: float, cost: float = 1) -> float:
    """Of an iteration, on average.

    Args:
        stages: The rows of SSKD of a pair, that of the head the last.
        who: Of the competitors.
        head: The part of the epochs that the head gets; the other stages share the rest.
        cost: What an iteration of the head takes, as a part of one from images.
    """
    *others, last = (median(row['seconds'][who]) for row in stages)
    return head * cost * last + (1 - head) * mean(others)


def cost_of_kept(times: Mapping[str, Sequence[float]]) -> float:
    """Of an iteration of the head from kept features with their filling, as a part of one from images."""
    images, kept, filling = (median(times[who]) for who in ('images', 'kept', 'filling'))
    return (kept + VIEWS / EPOCHS * filling) / images
