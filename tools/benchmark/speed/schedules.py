"""Computes the time of whole SSKD schedules from the iterations of their stages."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

VIEWS, EPOCHS = 4, 20  # defaults of kept features: the number of views, and the head's epochs


def table(rows: Sequence[dict], kept: Sequence[dict]) -> list[str]:
    """How many times faster SSKD is than running everything, if the head gets half of the epochs."""
    lines = [
        '| Gain of SSKD, half of the epochs for the head | | with bfloat16 | with kept features | with both |',
        '|---|---|---|---|---|',
    ]
    times = {row['pair']: row['seconds'] for row in kept}
    for pair, those in by_pair(stages(rows)).items():
        everything = seconds(those, 'run everything', 0.5)
        own = {who: seconds(those, who, 0.5) for who in ('mmkd', 'frozen_dtype')}
        cells = [pair, *(gain(everything, taken) for taken in own.values())]
        for who, taken in own.items():
            kept_head = head_from_kept(those[-1], who, times[pair]) if pair in times and taken else None
            cells.append(gain(everything, seconds(those, who, 0.5, kept_head) if kept_head else None))
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def by_pair(rows: Sequence[dict]) -> dict[str, list[dict]]:
    """The rows of each pair, in order."""
    return {pair: [row for row in rows if row['pair'] == pair] for pair in dict.fromkeys(row['pair'] for row in rows)}


def stages(rows: Sequence[dict]) -> list[dict]:
    """The rows of SSKD."""
    return [row for row in rows if row['method'] == 'SSKD']


def gain(slow: float | None, fast: float | None) -> str:
    """How many times as fast, where both were measured."""
    return f'{slow / fast:.2f}' if slow and fast else '-'


def seconds(stages: Sequence[dict], who: str, head: float, of_head: float | None = None) -> float | None:
    """Mean seconds of an iteration, unless a stage was not measured.

    Args:
        stages: The rows of SSKD of a pair, that of the head the last.
        who: Of the competitors.
        head: The part of the epochs that the head gets; the other stages share the rest.
        of_head: Of an iteration of the head, where it is not from images.
    """
    if any(who not in row['seconds'] for row in stages):
        return None
    *others, last = (median(row['seconds'][who]) for row in stages)
    return head * (of_head or last) + (1 - head) * mean(others)


def head_from_kept(row: dict, who: str, times: Mapping[str, Sequence[float]]) -> float:
    """Seconds of an iteration of the head from kept features, and of its part of their filling.

    Both are measured in float32 beside an iteration from images. Filling is a forward of what is frozen, as nearly all
    of an iteration from images is, so it takes as much less as that does.
    """
    images, kept, filling = (median(times[what]) for what in ('images', 'kept', 'filling'))
    plain, own = (median(row['seconds'][other]) for other in ('mmkd', who))
    return plain * kept / images + own * VIEWS / EPOCHS * filling / images
